import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";

/** ECDSA on P-256 with SHA-256: what every TLS 1.2 and 1.3 stack takes (RFC 8446, 9.1). */
export const ECDSA = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** A fresh secret key from the operating system's generator. */
export function newKey(): KeyObject {
  return generateKeyPairSync("ec", { namedCurve: ECDSA.namedCurve }).privateKey;
}

/** A secret key as its file holds it: PKCS #8, PEM. */
export function keyPem(key: KeyObject): string {
  return key.export({ format: "pem", type: "pkcs8" }).toString();
}

/** @throws {PipelineError} CERTIFICATE_INVALID, which does not quote the key */
export function readKeyPem(pem: string, what: string): KeyObject {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyDetails?.namedCurve === "prime256v1") return key;
  } catch {
    // The cause might quote the key.
  }
  throw new PipelineError("CERTIFICATE_INVALID", `${what}: the key is no ECDSA key on P-256 in PEM form`);
}

/** The key as WebCrypto signs with it. */
export function webCryptoKey(key: KeyObject) {
  return key.toCryptoKey(ECDSA, false, ["sign"]);
}
