import { createPrivateKey, createPublicKey, hash } from "node:crypto";

/** An Ed25519 key pair that is the same in every run, so that seeds and kept cases stay what they are. Good for nothing else. */
export function fixedKey(name: string) {
  // RFC 8410, 7: the PKCS #8 form is this prefix and 32 bytes.
  const der = Buffer.from(`302e020100300506032b657004220420${hash("sha256", `fuzz ${name}`)}`, "hex");
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  return { privateKey, publicKey: createPublicKey(privateKey) };
}

/** Throws what a target reports when something does not hold that must: no refusal, so always a finding. */
export function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}
