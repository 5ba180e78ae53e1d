import { readSealed, writeSealed } from "@smile/custody/sealed-file";
import { signingKey } from "@smile/schemas/ed25519";
import { newSigningKey, SigningKeyDocument } from "@smile/schemas/signing-key";
import { newPassphrase, passphraseOf } from "../plant/passphrase-prompt.ts";

/** What `readSealed` asks a file of an analyst's or releaser's key for. */
const HOLDS = "signing-key";

type Options = { readonly passphraseFile?: string; readonly signal: AbortSignal };

/**
 * Makes a person's key, sealed by a passphrase of their own.
 * @returns what the console's configuration pins
 * @throws {PipelineError} CONFIG_INVALID when the file exists; as `newPassphrase`
 */
export async function makeSigningKey(path: string, name: string, { passphraseFile: file, signal }: Options) {
  const passphrase = await newPassphrase({ env: process.env, file, signal, what: "your key" });
  const key = newSigningKey(name);
  await writeSealed(path, HOLDS, key, passphrase);
  return { name, publicKey: key.publicKey };
}

/** @throws {PipelineError} as `passphraseOf` and `readSealed` */
export async function openSigningKey(path: string, { passphraseFile: file, signal }: Options) {
  const passphrase = await passphraseOf({ env: process.env, file, signal, what: "your key" });
  const { owner, secretKey } = await readSealed(path, HOLDS, SigningKeyDocument, passphrase);
  return { owner, key: signingKey(secretKey) };
}
