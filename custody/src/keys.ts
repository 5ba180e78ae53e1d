import { createHash } from "node:crypto";
import { IDENTITY_KEY } from "@smile/he/identity-backend";
import type { Params } from "@smile/he/params";
import { openSeal } from "@smile/he/seal-module";

/** `keyId` is the SHA-256 of the public key's bytes, 64 hexadecimal digits. The secret key never leaves the plant. */
export type KeyPair = { readonly keyId: string; readonly secretKey: Uint8Array; readonly publicKey: Uint8Array };

/** A fresh key pair for these parameters, from SEAL's generator seeded by the operating system. */
export async function generateKeyPair(params: Params): Promise<KeyPair> {
  if (params.scheme === "identity") return { keyId: keyIdOf(IDENTITY_KEY), secretKey: IDENTITY_KEY, publicKey: IDENTITY_KEY };
  using session = await openSeal(params);
  const { seal, context } = session;
  const none = seal.ComprModeType.none;
  using generator = new seal.KeyGenerator(context);
  using secret = generator.secretKey();
  using open = generator.createPublicKey();
  const publicKey: Uint8Array = open.saveToArray(none);
  return { keyId: keyIdOf(publicKey), secretKey: secret.saveToArray(none), publicKey };
}

/** The id under which a public key is known: SHA-256 of its bytes. */
export function keyIdOf(publicKey: Uint8Array): string {
  return createHash("sha256").update(publicKey).digest("hex");
}
