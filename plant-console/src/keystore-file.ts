import { parseDocument } from "@smile/schemas/documents";
import { NAME } from "@smile/schemas/topics";
import { z } from "zod";
import type { SecretKey } from "./decryption-keys.ts";
import { readJson } from "./json-file.ts";

const hash = z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits");

const KeystoreFile = z.object({
  plant: z.string().regex(NAME),
  keys: z.array(z.object({ gateway: z.string().regex(NAME).nullable(), paramsId: hash, keyId: hash, secretKey: z.base64() })).min(1),
});

/**
 * The secret keys of a plant, from its keystore.
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID naming file and field, never what it holds
 */
export function readKeystore(path: string): { plant: string; keys: SecretKey[] } {
  const { plant, keys } = parseDocument(KeystoreFile, readJson(path), path);
  return { plant, keys: keys.map((key) => ({ ...key, secretKey: new Uint8Array(Buffer.from(key.secretKey, "base64")) })) };
}
