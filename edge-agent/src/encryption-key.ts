import { hash } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { KeyMode } from "@smile/he/params";
import { readDocument } from "@smile/runtime/document-file";
import { checkPrivate } from "@smile/runtime/private-file";
import { GatewayKeyDocument, PublicKeyDocument } from "@smile/schemas/documents";
import type { RegisteredPlant } from "@smile/schemas/registered-plant";
import type { WindowKey } from "./envelope-sealer.ts";

/** What the key has to fit. */
export type KeyUse = {
  readonly plant: string;
  readonly gateway: string;
  readonly keyMode: KeyMode;
  readonly paramsId: string;
  /** Refuses any other key. With neither this nor a register, the file's is taken. */
  readonly keyId?: string | undefined;
  /** Refuses a key that the plant has not registered, or whose time is over. */
  readonly register?: RegisteredPlant | undefined;
};

/**
 * Reads what a gateway encrypts with: in public mode a public-key document, in symmetric mode a `GatewayKeyDocument`.
 * @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID; KEY_MISMATCH when it was made for another use; CONFIG_INVALID
 *   when others may read a secret key
 */
export function readEncryptionKey(path: string, use: KeyUse): WindowKey {
  if (use.keyMode === "public") {
    const document = readDocument(PublicKeyDocument, path, "key");
    const bytes = Uint8Array.from(Buffer.from(document.publicKey, "base64"));
    if (hash("sha256", bytes) !== document.keyId) {
      throw new PipelineError("KEY_MISMATCH", `${path}: keyId is not the SHA-256 of publicKey`, { path });
    }
    checkUse(path, document, use);
    return { keyId: document.keyId, bytes };
  }
  checkPrivate(path, "secret key");
  const document = readDocument(GatewayKeyDocument, path, "key");
  checkUse(path, document, use);
  return { keyId: document.keyId, bytes: Uint8Array.from(Buffer.from(document.secretKey, "base64")) };
}

function checkUse(path: string, found: { plant: string; gateway: string | null; paramsId: string; keyId: string }, use: KeyUse): void {
  for (const field of ["plant", "gateway", "paramsId", "keyId"] as const) {
    const wanted = use[field];
    if (wanted === undefined || found[field] === wanted || (field === "gateway" && found.gateway === null)) continue;
    throw new PipelineError("KEY_MISMATCH", `${path}: ${field} is ${found[field]}, not ${wanted}`, { path, field });
  }
  if (use.register === undefined) return;
  // In force, or retiring: the service takes what is encrypted under it until its time is over.
  const registered = use.register.keyAt(use.paramsId, found.keyId, Date.now());
  if (registered === undefined || registered.gateway !== found.gateway) {
    const what = `${path}: the plant's register has no such key in force for gateway ${use.gateway}`;
    throw new PipelineError("KEY_MISMATCH", what, { path, keyId: found.keyId });
  }
}
