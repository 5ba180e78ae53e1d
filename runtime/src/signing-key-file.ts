import type { KeyObject } from "node:crypto";
import { signingKey } from "@smile/schemas/ed25519";
import { SigningKeyDocument } from "@smile/schemas/signing-key";
import { readDocument } from "./document-file.ts";
import { checkPrivate } from "./private-file.ts";

/** What a gateway or a model service signs with; `publicKey` is the base64 of its public half. */
export type SigningKeyFile = { readonly owner: string; readonly publicKey: string; readonly key: KeyObject };

/**
 * Reads a signing key of a file.
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID, none of which quotes it; CONFIG_INVALID when others may read it
 */
export function readSigningKey(path: string): SigningKeyFile {
  checkPrivate(path, "signing key");
  const { owner, publicKey, secretKey } = readDocument(SigningKeyDocument, path, "signing key");
  return { owner, publicKey, key: signingKey(secretKey) };
}
