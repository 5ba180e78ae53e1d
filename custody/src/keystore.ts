import { existsSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";
import { type KeyMode, type Params, paramsId } from "@smile/he/params";
import { type GatewayKey, type PublicKey, parseDocument } from "@smile/schemas/documents";
import { NAME } from "@smile/schemas/topics";
import { z } from "zod";
import { generateKeyPair } from "./keys.ts";
import { fingerprint, readSealed, type SealOptions, writeSealed } from "./sealed-file.ts";

const hash = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits");
const timeMs = z.number().int().min(0);

const identity = {
  /** Counts the plant's key changes from 1; never given twice. */
  keyEpoch: z.number().int().min(1),
  /** The gateway whose key it is in symmetric mode; null for the plant-wide key. */
  gateway: z.string().regex(NAME).nullable(),
  paramsId: hash,
  keyId: hash,
};

const Shape = z.strictObject({
  kind: z.literal("keystore"),
  version: z.literal(2),
  plant: z.string().regex(NAME),
  keys: z.array(
    z.strictObject({
      ...identity,
      publicKey: z.base64(),
      secretKey: z.base64(),
      createdAtMs: timeMs,
      /** `next`: made, but not handed to gateways yet. `retiring`: opens what is still on its way, until `untilMs`. */
      state: z.enum(["next", "active", "retiring"]),
      /** Milliseconds since 1970, of a retiring key; null of the others. */
      untilMs: timeMs.nullable(),
    }),
  ),
  /** Keys that were here once; of their secrets nothing is left. */
  destroyed: z.array(z.strictObject({ ...identity, destroyedAtMs: timeMs })),
});

export const KeystoreDocument = Shape.superRefine(({ keys, destroyed }, context) => {
  const refuse = (i: number, field: string, message: string) => context.addIssue({ code: "custom", path: ["keys", i, field], message });
  const epochs = new Set(destroyed.map(nameOf));
  const leading = new Set<string>();
  keys.forEach((key, i) => {
    if (epochs.has(nameOf(key))) refuse(i, "keyEpoch", "is another key's, or a destroyed one's");
    epochs.add(nameOf(key));
    if ((key.state === "retiring") !== (key.untilMs !== null)) refuse(i, "untilMs", "is for retiring keys, and those need it");
    const place = `${key.state} ${ownerOf(key)}`;
    if (key.state !== "retiring" && leading.has(place)) refuse(i, "state", "is another key's of this gateway and these parameters too");
    leading.add(place);
  });
});

/** A plant's secret keys, as they are in memory. In their file they are sealed by a passphrase. */
export type Keystore = z.infer<typeof Shape>;
export type KeystoreKey = Keystore["keys"][number];
export type DestroyedKey = Keystore["destroyed"][number];

/** A time and how long a key that retires at it goes on opening scores, both in milliseconds. */
export type Retirement = { readonly retainMs: number; readonly nowMs: number };

/**
 * Fresh active keys for one deployment: one for the plant in public mode, one per gateway in symmetric mode.
 * @param gateways only used in symmetric mode, where at least one is needed
 * @throws {PipelineError} CONFIG_INVALID when a name is none, or comes twice
 */
export async function createKeystore(
  plant: string,
  params: Params,
  keyMode: KeyMode,
  gateways: readonly string[],
  nowMs: number,
): Promise<Keystore> {
  checkName("plant", plant);
  const empty: Keystore = { kind: "keystore", version: 2, plant, keys: [], destroyed: [] };
  return addKeys(empty, params, ownersOf(keyMode, gateways), "active", nowMs);
}

/**
 * A further epoch: fresh keys in state `next`, under which nothing is encrypted until `activateEpoch`. Also for other parameters.
 * @param gateways as for `createKeystore`
 * @throws {PipelineError} CONFIG_INVALID also when an epoch of these owners and parameters waits already
 */
export async function addEpoch(
  keystore: Keystore,
  params: Params,
  keyMode: KeyMode,
  gateways: readonly string[],
  nowMs: number,
): Promise<Keystore> {
  const owners = ownersOf(keyMode, gateways);
  const waiting = keystore.keys.find(
    (key) => key.state === "next" && key.paramsId === paramsId(params) && owners.some((owner) => owner === key.gateway),
  );
  if (waiting !== undefined) {
    const { keyEpoch } = waiting;
    throw new PipelineError("CONFIG_INVALID", `key epoch ${keyEpoch} waits to be activated; no other is made before that`, { keyEpoch });
  }
  return addKeys(keystore, params, owners, "next", nowMs);
}

/**
 * The key of a gateway that joins in symmetric mode: active at once, since the gateway has no other.
 * @throws {PipelineError} CONFIG_INVALID when the name is none, or the gateway has an active or next key of these parameters
 */
export async function addGatewayKey(keystore: Keystore, params: Params, gateway: string, nowMs: number): Promise<Keystore> {
  const id = paramsId(params);
  if (keystore.keys.some((key) => key.gateway === gateway && key.paramsId === id && key.state !== "retiring")) {
    throw new PipelineError("CONFIG_INVALID", `gateway ${gateway} has a key of these parameters already`, { gateway });
  }
  return addKeys(keystore, params, ownersOf("symmetric", [gateway]), "active", nowMs);
}

/**
 * Every next key becomes active; the key that it takes the place of retires.
 * @throws {PipelineError} CONFIG_INVALID when no epoch waits, or the retention is no time
 */
export function activateEpoch(keystore: Keystore, retirement: Retirement): Keystore {
  const successors = new Set(keystore.keys.filter(({ state }) => state === "next").map(ownerOf));
  if (successors.size === 0) throw new PipelineError("CONFIG_INVALID", "no key epoch waits to be activated", { plant: keystore.plant });
  const { keys, ...rest } = retireKeys(keystore, (key) => key.state === "active" && successors.has(ownerOf(key)), retirement);
  return { ...rest, keys: keys.map((key) => (key.state === "next" ? { ...key, state: "active" } : key)) };
}

/**
 * Retires keys that nothing succeeds: of a gateway that was revoked in symmetric mode, of parameters that are not deployed any more.
 * @param which of the active and next keys retire
 * @throws {PipelineError} CONFIG_INVALID when the retention is no time
 */
export function retireKeys(keystore: Keystore, which: (key: KeystoreKey) => boolean, { retainMs, nowMs }: Retirement): Keystore {
  if (!Number.isSafeInteger(nowMs + retainMs) || retainMs < 0) {
    throw new PipelineError("CONFIG_INVALID", "retention must be a whole number of milliseconds, 0 or more", { retainMs });
  }
  const retiring = { state: "retiring" as const, untilMs: nowMs + retainMs };
  return { ...keystore, keys: keystore.keys.map((key) => (key.state !== "retiring" && which(key) ? { ...key, ...retiring } : key)) };
}

/**
 * Drops every retiring key whose time has come, its secret with it, and keeps its name. What it encrypted cannot be read any more
 * once the file is written; copies of the file elsewhere are their keepers' matter.
 */
export function destroyExpired(keystore: Keystore, nowMs: number): { keystore: Keystore; destroyed: DestroyedKey[] } {
  const isExpired = ({ state, untilMs }: KeystoreKey) => state === "retiring" && untilMs! <= nowMs;
  const destroyed = keystore.keys.filter(isExpired).map(({ keyEpoch, gateway, paramsId, keyId }) => ({
    keyEpoch,
    gateway,
    paramsId,
    keyId,
    destroyedAtMs: nowMs,
  }));
  const keys = keystore.keys.filter((key) => !isExpired(key));
  return { keystore: { ...keystore, keys, destroyed: [...keystore.destroyed, ...destroyed] }, destroyed };
}

/** @throws {PipelineError} as `readSealed`; DOCUMENT_INVALID also for the plain keystores of version 1, which were never released */
export function readKeystore(path: string, passphrase: string): Promise<Keystore> {
  return readSealed(path, "keystore", KeystoreDocument, passphrase);
}

/**
 * Seals the keystore into a file of mode 0600. With `replace` it takes the place of one that it was made from: every key of that one
 * must be kept or be destroyed here, since a lost key may be the only one that opens scores in flight.
 * @throws {PipelineError} as `writeSealed`; with `replace` also as `readSealed`, CONFIG_INVALID when a key would be lost, and
 *   STORE_UNAVAILABLE when somebody else wrote the file meanwhile
 */
export async function writeKeystore(path: string, keystore: Keystore, passphrase: string, options: SealOptions = {}): Promise<void> {
  parseDocument(KeystoreDocument, keystore, path);
  if (!options.replace || !existsSync(path)) return writeSealed(path, "keystore", keystore, passphrase, options);
  // Deriving keys takes its time: a keystore that is written meanwhile must not be lost.
  const follows = fingerprint(path);
  checkSuccession(path, await readKeystore(path, passphrase), keystore);
  await writeSealed(path, "keystore", keystore, passphrase, { ...options, follows });
}

/** What is handed to gateways in public mode: of the active keys, or of the epochs named. */
export function publicKeys(keystore: Keystore, epochs?: readonly number[]): PublicKey[] {
  return chosen(keystore, epochs).map(({ gateway, paramsId, keyId, publicKey }) => ({
    kind: "public-key",
    version: 1,
    plant: keystore.plant,
    gateway,
    paramsId,
    keyId,
    publicKey,
  }));
}

/** What each gateway encrypts with in symmetric mode, a secret of that gateway and the plant: of the active keys, or of the epochs named. */
export function gatewayKeys(keystore: Keystore, epochs?: readonly number[]): GatewayKey[] {
  return chosen(keystore, epochs).flatMap(({ gateway, paramsId, keyId, secretKey }) =>
    gateway === null ? [] : [{ kind: "gateway-secret-key", version: 1, plant: keystore.plant, gateway, paramsId, keyId, secretKey }],
  );
}

function chosen({ keys }: Keystore, epochs: readonly number[] | undefined): KeystoreKey[] {
  return keys.filter(({ state, keyEpoch }) => epochs?.includes(keyEpoch) ?? state === "active");
}

type Owner = string | null;
type Named = Pick<DestroyedKey, "keyEpoch" | "gateway" | "paramsId">;

function ownerOf({ gateway, paramsId }: Named): string {
  return `${gateway} ${paramsId}`;
}

function nameOf(key: Named): string {
  return `${key.keyEpoch} ${ownerOf(key)}`;
}

function ownersOf(keyMode: KeyMode, gateways: readonly string[]): readonly Owner[] {
  for (const gateway of gateways) checkName("gateway", gateway);
  const twice = gateways.find((gateway, i) => gateways.indexOf(gateway) !== i);
  if (twice !== undefined) throw new PipelineError("CONFIG_INVALID", `gateway ${twice} is named twice`, { gateway: twice });
  if (keyMode === "public") return [null];
  if (gateways.length === 0) throw new PipelineError("CONFIG_INVALID", "symmetric mode needs the names of the gateways", { keyMode });
  return gateways;
}

function checkName(role: string, name: string): void {
  if (NAME.test(name)) return;
  throw new PipelineError(
    "CONFIG_INVALID",
    `${role} ${JSON.stringify(name)}: a name has 1 to 64 letters, digits, dots, dashes or underscores`,
  );
}

async function addKeys(
  keystore: Keystore,
  params: Params,
  owners: readonly Owner[],
  state: "next" | "active",
  nowMs: number,
): Promise<Keystore> {
  const keyEpoch = 1 + [...keystore.keys, ...keystore.destroyed].reduce((last, key) => Math.max(last, key.keyEpoch), 0);
  const fresh: KeystoreKey[] = [];
  for (const gateway of owners) {
    const { keyId, publicKey, secretKey } = await generateKeyPair(params);
    fresh.push({
      keyEpoch,
      gateway,
      paramsId: paramsId(params),
      keyId,
      publicKey: base64(publicKey),
      secretKey: base64(secretKey),
      createdAtMs: nowMs,
      state,
      untilMs: null,
    });
  }
  return { ...keystore, keys: [...keystore.keys, ...fresh] };
}

function checkSuccession(path: string, before: Keystore, after: Keystore): void {
  const refuse = (why: string) => {
    throw new PipelineError("CONFIG_INVALID", `${path} ${why}; it is not replaced`, { path });
  };
  if (before.plant !== after.plant) refuse(`belongs to plant ${before.plant}`);
  // The key's id too: two who added an epoch to one keystore gave theirs the same number.
  const idOf = (key: Named & { readonly keyId: string }) => `${nameOf(key)} ${key.keyId}`;
  const gone = new Set(after.destroyed.map(idOf));
  const known = new Set([...gone, ...after.keys.map(idOf)]);
  const lost = before.keys.find((key) => !known.has(idOf(key)));
  if (lost !== undefined) refuse(`has a key of epoch ${lost.keyEpoch} that the new keystore lacks`);
  const revived = before.destroyed.find((key) => !gone.has(idOf(key)));
  if (revived !== undefined) refuse(`records that a key of epoch ${revived.keyEpoch} was destroyed, and the new keystore does not`);
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
