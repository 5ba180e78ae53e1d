import { existsSync, statSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";
import { type KeyMode, type Params, paramsId } from "@smile/he/params";
import { readJsonFile, writeJsonFile } from "@smile/runtime/json-file";
import { type GatewayKey, type PublicKey, parseDocument } from "@smile/schemas/documents";
import { NAME } from "@smile/schemas/topics";
import { z } from "zod";
import { generateKeyPair } from "./keys.ts";

const hash = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits");

const Keystore = z.strictObject({
  kind: z.literal("keystore"),
  version: z.literal(1),
  plant: z.string().regex(NAME),
  keys: z.array(
    z.strictObject({
      /** The gateway whose key it is in symmetric mode; null for the plant-wide key. */
      gateway: z.string().regex(NAME).nullable(),
      paramsId: hash,
      keyId: hash,
      publicKey: z.base64(),
      secretKey: z.base64(),
    }),
  ),
});

/** A plant's secret keys. The file is readable by its owner alone; it is not encrypted at rest. */
export type Keystore = z.infer<typeof Keystore>;

/**
 * Fresh keys for one deployment: one for the plant in public mode, one per gateway in symmetric mode.
 * @param gateways only used in symmetric mode, where at least one is needed
 * @throws {PipelineError} CONFIG_INVALID when a name is none, or comes twice
 */
export async function createKeystore(plant: string, params: Params, keyMode: KeyMode, gateways: readonly string[]): Promise<Keystore> {
  const owners = keyMode === "public" ? [null] : gateways;
  for (const [role, name] of [["plant", plant] as const, ...gateways.map((gateway) => ["gateway", gateway] as const)]) {
    if (!NAME.test(name))
      throw new PipelineError(
        "CONFIG_INVALID",
        `${role} ${JSON.stringify(name)}: a name has 1 to 64 letters, digits, dots, dashes or underscores`,
      );
  }
  const twice = gateways.find((gateway, i) => gateways.indexOf(gateway) !== i);
  if (twice !== undefined) throw new PipelineError("CONFIG_INVALID", `gateway ${twice} is named twice`, { gateway: twice });
  if (owners.length === 0) throw new PipelineError("CONFIG_INVALID", "symmetric mode needs the names of the gateways", { keyMode });
  const keys: Keystore["keys"] = [];
  for (const gateway of owners) {
    const pair = await generateKeyPair(params);
    keys.push({
      gateway,
      paramsId: paramsId(params),
      keyId: pair.keyId,
      publicKey: base64(pair.publicKey),
      secretKey: base64(pair.secretKey),
    });
  }
  return { kind: "keystore", version: 1, plant, keys };
}

/**
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID; CONFIG_INVALID when others may read the file
 */
export function readKeystore(path: string): Keystore {
  if (existsSync(path) && process.platform !== "win32" && (statSync(path).mode & 0o077) !== 0) {
    throw new PipelineError("CONFIG_INVALID", `${path}: a keystore must have mode 0600`, { path });
  }
  return parseDocument(Keystore, readJsonFile(path, "keystore"), path);
}

/**
 * Writes the file with mode 0600. An existing keystore is never replaced: its keys may be the only ones that open scores in flight.
 * @throws {PipelineError} CONFIG_INVALID when the file exists, STORE_UNAVAILABLE
 */
export function writeKeystore(path: string, keystore: Keystore): void {
  if (existsSync(path)) throw new PipelineError("CONFIG_INVALID", `${path} exists; a keystore is never replaced`, { path });
  writeJsonFile(path, keystore, 0o600);
}

/** What is registered at the model service, and handed to gateways in public mode. */
export function publicKeys({ plant, keys }: Keystore): PublicKey[] {
  return keys.map(({ gateway, paramsId, keyId, publicKey }) => ({
    kind: "public-key",
    version: 1,
    plant,
    gateway,
    paramsId,
    keyId,
    publicKey,
  }));
}

/** What each gateway encrypts with in symmetric mode: a secret of that gateway and the plant. */
export function gatewayKeys({ plant, keys }: Keystore): GatewayKey[] {
  return keys.flatMap(({ gateway, paramsId, keyId, secretKey }) =>
    gateway === null ? [] : [{ kind: "gateway-secret-key", version: 1, plant, gateway, paramsId, keyId, secretKey }],
  );
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
