import { generateKeyPairSync } from "node:crypto";
import { z } from "zod";
import { base64Bytes, ed25519Key } from "./document-fields.ts";
import { publicHalf, signingKey } from "./ed25519.ts";

/** An Ed25519 key of a gateway or a model service: a secret of that one, in a file of mode 0600. `signingKey(secretKey)` opens it. */
export const SigningKeyDocument = z
  .strictObject({
    kind: z.literal("signing-key"),
    version: z.literal(1),
    /** Whose it is, for people. */
    owner: z.string().min(1).max(200),
    /** Base64 of 32 bytes: what registers and service documents hold. */
    publicKey: ed25519Key,
    /** Base64 of PKCS #8. */
    secretKey: base64Bytes(32, 200),
  })
  .superRefine(({ publicKey, secretKey }, context) => {
    const refuse = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    try {
      if (publicHalf(signingKey(secretKey)) !== publicKey) refuse("publicKey", "does not belong to secretKey");
    } catch {
      refuse("secretKey", "must be an Ed25519 key in PKCS #8");
    }
  });
export type SigningKey = z.infer<typeof SigningKeyDocument>;

/**
 * A fresh key from the operating system's generator.
 * @param owner whose it is, for people: 1 to 200 characters
 */
export function newSigningKey(owner: string): SigningKey {
  const { privateKey } = generateKeyPairSync("ed25519");
  const secretKey = privateKey.export({ format: "der", type: "pkcs8" }).toString("base64");
  return { kind: "signing-key", version: 1, owner, publicKey: publicHalf(privateKey), secretKey };
}
