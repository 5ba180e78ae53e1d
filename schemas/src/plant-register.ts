import { hash as digest, type KeyObject } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import canonicalize from "canonicalize";
import { z } from "zod";
import { parseDocument } from "./documents.ts";
import { isSignedBy, publicHalf, signBytes, verifyingKey } from "./ed25519.ts";
import { NAME } from "./topics.ts";

const hash = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits");
const ed25519Key = z
  .base64()
  .refine((text) => Buffer.from(text, "base64").length === 32, "must be the base64 of an Ed25519 public key's 32 bytes");
const timeMs = z.number().int().min(0);
const versions = z.array(z.number().int().min(1).max(255)).min(1);

/**
 * How far something may still be used: `active`; `retiring` until `untilMs` (milliseconds since 1970), while what was made with it is
 * still on its way; `revoked` not at all, from the moment that the service has read this.
 */
const standing = {
  state: z.enum(["active", "retiring", "revoked"]),
  untilMs: timeMs.nullable(),
};

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
  consoles: z.array(z.strictObject({ console: z.string().regex(NAME), certificateHash: hash, ...standing })).max(1000),
  gateways: z
    .array(
      z.strictObject({
        gateway: z.string().regex(NAME),
        /** Global lanes that the gateway may fill: first and how many. */
        lanes: z.strictObject({ first: z.number().int().min(0), count: z.number().int().min(1) }),
        credentials: z
          .array(
            z.strictObject({
              signingKey: ed25519Key,
              /** null for a gateway that uses no TLS, or whose certificate its plant's own authority has still to issue. */
              certificateHash: hash.nullable(),
              ...standing,
            }),
          )
          .max(100),
      }),
    )
    .max(100_000),
  /** Public keys that the plant's windows may be encrypted under. A key that is not here any more is destroyed. */
  keys: z.array(
    z.strictObject({
      /** Counts the plant's key changes from 1. */
      keyEpoch: z.number().int().min(1),
      /** The gateway whose key it is in symmetric mode; null for the plant-wide key. */
      gateway: z.string().regex(NAME).nullable(),
      paramsId: hash,
      /** SHA-256 of the key's bytes. */
      keyId: hash,
      publicKey: z.base64(),
      ...standing,
    }),
  ),
});

/** What a plant tells the service about itself, signed by its identity: public. It holds no machine's name. */
export const PlantRegisterDocument = z.strictObject({ ...Registration.shape, signature: z.base64() }).superRefine((register, context) => {
  const refuse = (path: (string | number)[], message: string) => context.addIssue({ code: "custom", path, message });
  const names = new Set<string>();
  register.gateways.forEach(({ gateway }, i) => {
    if (names.has(gateway)) refuse(["gateways", i, "gateway"], "is registered twice");
    names.add(gateway);
  });
  const byLane = register.gateways.map(({ lanes }, i) => ({ ...lanes, i })).sort((a, b) => a.first - b.first);
  for (let k = 1; k < byLane.length; k++) {
    const before = byLane[k - 1]!;
    if (byLane[k]!.first < before.first + before.count) refuse(["gateways", byLane[k]!.i, "lanes"], "belong to another gateway too");
  }
  register.keys.forEach(({ keyId, publicKey }, i) => {
    if (digest("sha256", Buffer.from(publicKey, "base64")) !== keyId) refuse(["keys", i, "keyId"], "is not the SHA-256 of publicKey");
  });
});
export type PlantRegister = z.infer<typeof PlantRegisterDocument>;
export type Registration = z.infer<typeof Registration>;

/** What the service pins: SHA-256 of the identity's 32 bytes, 64 hexadecimal digits. */
export function identityHash(identity: string): string {
  return digest("sha256", Buffer.from(identity, "base64"));
}

/** @param key the plant's identity, an Ed25519 secret key */
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
  const register = parseDocument(PlantRegisterDocument, json, what);
  const { signature, ...registration } = register;
  const signed =
    identityHash(register.identity) === pinned &&
    isSignedBy(statementOf(registration), Buffer.from(signature, "base64"), [verifyingKey(register.identity)]);
  if (!signed)
    throw new PipelineError("SIGNATURE_INVALID", `${what}: not signed by the plant identity that is pinned`, { plant: register.plant });
  return register;
}

function statementOf(registration: Registration): Buffer {
  return Buffer.from(`smile.plant-register.v1\n${canonicalize(registration)}`);
}
