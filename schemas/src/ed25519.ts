import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";

/** Length of an Ed25519 signature (RFC 8032, 5.1.6). */
export const SIGNATURE_BYTES = 64;
const KEY_BYTES = 32;

/** A public key as documents write it, base64 of its 32 bytes, as a key object. @throws {PipelineError} DOCUMENT_INVALID */
export function verifyingKey(base64: string): KeyObject {
  const raw = Buffer.from(base64, "base64");
  if (raw.length !== KEY_BYTES) throw new PipelineError("DOCUMENT_INVALID", "an Ed25519 public key has 32 bytes", { length: raw.length });
  return createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") }, format: "jwk" });
}

/** A secret key as key files write it: base64 of its PKCS #8 form. @throws {PipelineError} DOCUMENT_INVALID, which does not quote it */
export function signingKey(base64: string): KeyObject {
  try {
    const key = createPrivateKey({ key: Buffer.from(base64, "base64"), format: "der", type: "pkcs8" });
    if (key.asymmetricKeyType === "ed25519") return key;
  } catch {
    // The cause might quote the key.
  }
  throw new PipelineError("DOCUMENT_INVALID", "a signing key is an Ed25519 key in PKCS #8");
}

/** Base64 of the 32 bytes of the public half of an Ed25519 key, secret or public. */
export function publicHalf(key: KeyObject): string {
  const { x } = (key.type === "private" ? createPublicKey(key) : key).export({ format: "jwk" });
  return Buffer.from(x!, "base64url").toString("base64");
}

/** The signature over the bytes, 64 bytes long; the same whenever it is made anew (RFC 8032, 5.1.6). */
export function signBytes(statement: Uint8Array, key: KeyObject): Uint8Array {
  return sign(null, statement, key);
}

/** Whether one of the keys made the signature; false for a signature of another length, and when there is no key. */
export function isSignedBy(statement: Uint8Array, signature: Uint8Array, keys: readonly KeyObject[]): boolean {
  return signature.length === SIGNATURE_BYTES && keys.some((key) => verify(null, statement, key, signature));
}
