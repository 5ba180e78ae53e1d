import { hash as digest, type KeyObject } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import canonicalize from "canonicalize";
import { z } from "zod";
import { base64Bytes, ed25519Key, hash, listOf, timeMs, versions } from "./document-fields.ts";
import { parseDocument } from "./documents.ts";
import { isSignedBy, publicHalf, SIGNATURE_BYTES, signBytes, verifyingKey } from "./ed25519.ts";
import { NAME } from "./topics.ts";

/**
 * How far something may still be used: `active`; `retiring` until `untilMs` (milliseconds since 1970), while what was made with it is
 * still on its way; `revoked` not at all, from the moment that this register was read.
 */
const standing = {
  state: z.enum(["active", "retiring", "revoked"]),
  untilMs: timeMs.nullable(),
};
/** Of a credential or a key. */
export type Standing = z.infer<z.ZodObject<typeof standing>>;

/** Most global lanes: blocks are 32-bit integers, and a ciphertext has at most 4096 lanes. Sums of two stay exact. */
const MOST_LANES = 2 ** 43;

const Registration = z.strictObject({
  kind: z.literal("plant-register"),
  version: z.literal(1),
  plant: z.string().regex(NAME),
  /** Counts the registers of a plant from 1: an older one is never taken again. */
  serial: z.number().int().min(1),
  issuedAtMs: timeMs,
  /** The plant's identity: an Ed25519 public key, and what the service pins by `identityHash`. */
  identity: ed25519Key,
  /** PEM: what certificates of this plant's gateways and consoles are issued by; null for a plant that uses no TLS. */
  certificateAuthority: z.string().max(16_384).nullable(),
  /** Versions of envelopes that the plant's consoles read. */
  reads: z.strictObject({ score: versions, gap: versions, delivery: versions }),
  /** SHA-256 of each certificate's DER form. */
  consoles: listOf(z.strictObject({ console: z.string().regex(NAME), certificateHash: hash, ...standing }), 1000),
  gateways: listOf(
    z.strictObject({
      gateway: z.string().regex(NAME),
      /** Global lanes that the gateway may fill: first and how many. */
      lanes: z.strictObject({ first: z.number().int().min(0).max(MOST_LANES), count: z.number().int().min(1).max(MOST_LANES) }),
      credentials: listOf(
        z.strictObject({
          signingKey: ed25519Key,
          /** null for a gateway that uses no TLS, or whose certificate its plant's own authority has still to issue. */
          certificateHash: hash.nullable(),
          ...standing,
        }),
        100,
      ),
    }),
    100_000,
  ),
  /** Public keys that the plant's windows may be encrypted under. A key that is not here any more is destroyed. */
  keys: listOf(
    z.strictObject({
      /** Counts the plant's key changes from 1. */
      keyEpoch: z.number().int().min(1),
      /** The gateway whose key it is in symmetric mode; null for the plant-wide key. */
      gateway: z.string().regex(NAME).nullable(),
      paramsId: hash,
      /** SHA-256 of the key's bytes. */
      keyId: hash,
      publicKey: base64Bytes(1, 200_000),
      ...standing,
    }),
    1_000_000,
  ),
});

/** Contradictions of a register that are named; of a large one there may be very many. */
const MOST_TOLD = 10;

/** What a plant tells the service about itself, signed by its identity: public. It holds no machine's name. */
export const PlantRegisterDocument = z
  .strictObject({ ...Registration.shape, signature: base64Bytes(SIGNATURE_BYTES, SIGNATURE_BYTES) })
  .superRefine(({ consoles, gateways, keys }, context) => {
    let told = 0;
    const refuse = (path: (string | number)[], message: string) => {
      told += 1;
      if (told <= MOST_TOLD) context.addIssue({ code: "custom", path, message });
    };

    const owners = new Map<string, string>();
    const claim = (credential: string | null, owner: string, path: (string | number)[]) => {
      if (credential === null) return;
      if ((owners.get(credential) ?? owner) !== owner) refuse(path, "belongs to somebody else too");
      owners.set(credential, owner);
    };
    const checkStanding = ({ state, untilMs }: Standing, path: (string | number)[]) => {
      if (state === "retiring" && untilMs === null) refuse([...path, "untilMs"], "must say when it ends");
      if (state === "active" && untilMs !== null) refuse([...path, "untilMs"], "must be null while it is active");
    };
    consoles.forEach((entry, i) => {
      claim(entry.certificateHash, `console ${entry.console}`, ["consoles", i, "certificateHash"]);
      checkStanding(entry, ["consoles", i]);
    });
    const names = new Set<string>();
    gateways.forEach(({ gateway, credentials }, i) => {
      if (names.has(gateway)) refuse(["gateways", i, "gateway"], "is registered twice");
      names.add(gateway);
      credentials.forEach((entry, k) => {
        const path = ["gateways", i, "credentials", k];
        claim(entry.signingKey, `gateway ${gateway}`, [...path, "signingKey"]);
        claim(entry.certificateHash, `gateway ${gateway}`, [...path, "certificateHash"]);
        checkStanding(entry, path);
      });
    });

    const byLane = gateways.map(({ lanes }, i) => ({ ...lanes, i })).sort((a, b) => a.first - b.first);
    for (let k = 1; k < byLane.length; k++) {
      const before = byLane[k - 1]!;
      if (byLane[k]!.first < before.first + before.count) refuse(["gateways", byLane[k]!.i, "lanes"], "belong to another gateway too");
    }

    const keyIds = new Set<string>();
    keys.forEach((entry, i) => {
      if (digest("sha256", Buffer.from(entry.publicKey, "base64")) !== entry.keyId) {
        refuse(["keys", i, "keyId"], "is not the SHA-256 of publicKey");
      }
      if (keyIds.has(`${entry.paramsId} ${entry.keyId}`)) refuse(["keys", i, "keyId"], "is registered twice");
      keyIds.add(`${entry.paramsId} ${entry.keyId}`);
      checkStanding(entry, ["keys", i]);
    });
  });
export type PlantRegister = z.infer<typeof PlantRegisterDocument>;
export type Registration = z.infer<typeof Registration>;

/** What is looked at before the signature: who says to have signed, and with what. */
const Signed = z.looseObject({
  plant: Registration.shape.plant,
  identity: Registration.shape.identity,
  signature: PlantRegisterDocument.shape.signature,
});

/** What the service pins: SHA-256 of the identity's 32 bytes, 64 hexadecimal digits. */
export function identityHash(identity: string): string {
  return digest("sha256", Buffer.from(identity, "base64"));
}

/**
 * The register with the plant's signature over all of it.
 * @param key the plant's identity, an Ed25519 secret key
 * @throws {PipelineError} DOCUMENT_INVALID
 */
export function signRegister(registration: Omit<Registration, "identity">, key: KeyObject): PlantRegister {
  const full: Registration = { ...registration, identity: publicHalf(key) };
  return parseDocument(
    PlantRegisterDocument,
    { ...full, signature: Buffer.from(signBytes(statementOf(full), key)).toString("base64") },
    "register",
  );
}

/**
 * Reads a register out of parsed JSON.
 * @param pinned `identityHash` of the plant's identity, as the plant told it; a register of anybody else is refused
 * @param what names the document in the error
 * @throws {PipelineError} DOCUMENT_INVALID; SIGNATURE_INVALID when the identity is another one, or did not sign this
 */
export function openRegister(json: unknown, pinned: string, what: string): PlantRegister {
  const { signature, ...registration } = parseDocument(Signed, json, what);
  if (identityHash(registration.identity) !== pinned || !hasSigned(registration, signature))
    throw new PipelineError("SIGNATURE_INVALID", `${what}: not signed by the plant identity that is pinned`, { plant: registration.plant });
  // Only now: what is wrong with a register of anybody else could take a hundred times its own memory to say.
  return parseDocument(PlantRegisterDocument, json, what);
}

function hasSigned(registration: { readonly identity: string }, signature: string): boolean {
  try {
    return isSignedBy(statementOf(registration), Buffer.from(signature, "base64"), [verifyingKey(registration.identity)]);
  } catch {
    return false; // nested too deeply for anybody to have signed it
  }
}

/** What the identity signs: the canonical JSON (RFC 8785) of everything but the signature, behind a line that says what it is. */
function statementOf(registration: object): Buffer {
  return Buffer.from(`smile.plant-register.v1\n${canonicalize(registration)}`);
}
