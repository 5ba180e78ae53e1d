import { createHmac, createSecretKey, type KeyObject, randomBytes } from "node:crypto";
import { existsSync, linkSync, rmSync, writeFileSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";
import { readJsonFile } from "@smile/runtime/json-file";
import { checkPrivate } from "@smile/runtime/private-file";
import { base64Bytes } from "@smile/schemas/document-fields";
import { parseDocument } from "@smile/schemas/documents";
import { z } from "zod";

const KEY_BYTES = 32;

const PseudonymKeyDocument = z.strictObject({
  kind: z.literal("pseudonym-key"),
  version: z.literal(1),
  key: base64Bytes(KEY_BYTES, KEY_BYTES),
});

/**
 * The organisation's key of pseudonyms, made at first use. With it a person has the same pseudonym in every job, by which the console
 * tells who left between two of them; without it nobody gets from a pseudonym to the person by trying identifiers. All sources of an
 * organisation need the same one.
 * @throws {PipelineError} FILE_DAMAGED, DOCUMENT_INVALID; CONFIG_INVALID when others may read it; STORE_UNAVAILABLE
 */
export function openPseudonymKey(path: string): KeyObject {
  if (!existsSync(path)) makeKey(path);
  checkPrivate(path, "pseudonym key");
  return createSecretKey(parseDocument(PseudonymKeyDocument, readJsonFile(path, "pseudonym key"), path).key, "base64");
}

function makeKey(path: string): void {
  const draft = `${path}.${process.pid}.tmp`;
  const document = { kind: "pseudonym-key", version: 1, key: randomBytes(KEY_BYTES).toString("base64") };
  try {
    rmSync(draft, { force: true });
    writeFileSync(draft, `${JSON.stringify(document, null, 2)}\n`, { mode: 0o600, flag: "wx", flush: true });
    linkSync(draft, path); // not over one that another process just made
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return;
    throw new PipelineError("STORE_UNAVAILABLE", `pseudonym key ${path} cannot be written`, { path }, error);
  } finally {
    rmSync(draft, { force: true });
  }
}

/** First 8 bytes of HMAC-SHA256 of the identifier as the file has it, without space around it. */
export function pseudonymOf(key: KeyObject, identifier: string): bigint {
  return createHmac("sha256", key).update(identifier.trim()).digest().readBigUInt64BE();
}
