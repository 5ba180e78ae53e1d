import { generateKeyPairSync } from "node:crypto";
import { z } from "zod";
import { publicHalf } from "./ed25519.ts";

/** An Ed25519 key of a gateway or a model service: a secret of that one, in a file of mode 0600. */
export const SigningKeyDocument = z.strictObject({
  kind: z.literal("signing-key"),
  version: z.literal(1),
  /** Whose it is, for people. */
  owner: z.string().min(1).max(200),
  /** Base64 of 32 bytes: what registers and service documents hold. */
  publicKey: z.base64(),
  /** Base64 of PKCS #8. */
  secretKey: z.base64(),
});
export type SigningKey = z.infer<typeof SigningKeyDocument>;

/** A fresh key from the operating system's generator. */
export function newSigningKey(owner: string): SigningKey {
  const { privateKey } = generateKeyPairSync("ed25519");
  const secretKey = privateKey.export({ format: "der", type: "pkcs8" }).toString("base64");
  return { kind: "signing-key", version: 1, owner, publicKey: publicHalf(privateKey), secretKey };
}
