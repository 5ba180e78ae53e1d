import { createCipheriv, createDecipheriv, hash, randomBytes, scrypt } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { promisify } from "node:util";
import { PipelineError } from "@smile/errors/pipeline-error";
import { readJsonFile, writeJsonFile } from "@smile/runtime/json-file";
import { checkPrivate } from "@smile/runtime/private-file";
import { parseDocument } from "@smile/schemas/documents";
import { z } from "zod";

/**
 * Secrets at rest: a JSON document under AES-256-GCM, its key out of a passphrase by scrypt. The key and the plaintext's bytes are
 * overwritten after use. Strings are not, since JavaScript cannot: the passphrase, the document's JSON text and the base64 of the
 * keys within stay in the heap until its memory is used again.
 */

/**
 * scrypt's N, which together with r = 8 and p = 1 OWASP's Password Storage Cheat Sheet names as the least to use; 128 MiB
 * (128 N r bytes) and about a third of a second per file.
 */
export const SCRYPT_COST = 2 ** 17;
/** A file that somebody planted must not cost a reader more than twice that. */
const LARGEST_COST = 2 * SCRYPT_COST;
const LEAST_COST = 2 ** 10;
const SALT_BYTES = 16;
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

const bytes = (length: number) => z.base64().refine((text) => Buffer.from(text, "base64").length === length, `must be ${length} bytes`);

const Header = z.strictObject({
  kind: z.literal("sealed"),
  version: z.literal(1),
  /** The kind of the document within. */
  holds: z.string(),
  kdf: z.strictObject({
    name: z.literal("scrypt"),
    cost: z
      .number()
      .min(LEAST_COST)
      .max(LARGEST_COST)
      .refine((n) => Number.isInteger(Math.log2(n)), "must be a power of two"),
    blockSize: z.literal(8),
    parallelization: z.literal(1),
    salt: bytes(SALT_BYTES),
  }),
  nonce: bytes(NONCE_BYTES),
  /** Tells a wrong passphrase from a damaged file: SHA-256 of the half of scrypt's output that is not the key. */
  check: bytes(KEY_BYTES),
});
type Header = z.infer<typeof Header>;

const SealedFile = z.strictObject({
  ...Header.shape,
  /** The document's JSON under AES-256-GCM, then the tag; the header is associated data. */
  ciphertext: z.base64(),
  /** SHA-256 over all the rest. It finds accidents; what was changed on purpose fails at the tag. */
  digest: bytes(KEY_BYTES),
});

export type SealOptions = {
  /** Whether a file that stands there may be replaced; no by default. */
  readonly replace?: boolean;
  /** scrypt's N, a power of two from 2^10 to 2^18. Only tests have a reason to name one. */
  readonly cost?: number;
  /** With `replace`: `fingerprint` of the file that the new one follows. Another one was written meanwhile: STORE_UNAVAILABLE. */
  readonly follows?: string;
};

/** What tells one content of a file from any other; "" where there is none. */
export function fingerprint(path: string): string {
  return existsSync(path) ? hash("sha256", readFileSync(path)) : "";
}

/**
 * @param holds the kind of document that is wanted
 * @throws {PipelineError} FILE_MISSING; CONFIG_INVALID when others may read the file; PASSPHRASE_WRONG; FILE_DAMAGED when it was
 *   changed since it was written; DOCUMENT_INVALID when it is not sealed, or holds something else
 */
export async function readSealed<T>(path: string, holds: string, schema: z.ZodType<T>, passphrase: string): Promise<T> {
  checkPrivate(path, holds);
  const json = readJsonFile(path, holds);
  const { header, ciphertext, digest } = openEnvelope(path, json);
  if (digest !== digestOf(header, ciphertext)) throw damaged(path, "its digest does not fit its content");
  if (header.holds !== holds) {
    throw new PipelineError("DOCUMENT_INVALID", `${path}: holds: is ${JSON.stringify(header.holds)}, not ${holds}`, { path });
  }
  const { key, check } = await deriveKey(passphrase, header.kdf);
  let plaintext: Buffer | undefined;
  try {
    if (check !== header.check) throw new PipelineError("PASSPHRASE_WRONG", `${path} was sealed with another passphrase`, { path });
    plaintext = decrypt(path, key, header, Buffer.from(ciphertext, "base64"));
    return parseDocument(schema, JSON.parse(plaintext.toString()), path);
  } finally {
    key.fill(0);
    plaintext?.fill(0);
  }
}

/**
 * Seals a document under a salt and a nonce of its own, in a file of mode 0600. Readers see the old file or the new one.
 * @param holds the kind of the document, which `readSealed` asks for
 * @param value what JSON can say
 * @throws {PipelineError} CONFIG_INVALID when the file exists and `replace` is not set; PASSPHRASE_MISSING for an empty one;
 *   STORE_UNAVAILABLE
 */
export async function writeSealed(
  path: string,
  holds: string,
  value: unknown,
  passphrase: string,
  options: SealOptions = {},
): Promise<void> {
  if (passphrase === "") throw new PipelineError("PASSPHRASE_MISSING", `${path} needs a passphrase; the one given is empty`, { path });
  const kdf: Header["kdf"] = {
    name: "scrypt",
    cost: options.cost ?? SCRYPT_COST,
    blockSize: 8,
    parallelization: 1,
    salt: randomBytes(SALT_BYTES).toString("base64"),
  };
  const { key, check } = await deriveKey(passphrase, kdf);
  const header: Header = { kind: "sealed", version: 1, holds, kdf, nonce: randomBytes(NONCE_BYTES).toString("base64"), check };
  const plaintext = Buffer.from(JSON.stringify(value));
  const ciphertext = encrypt(key, header, plaintext).toString("base64");
  key.fill(0);
  plaintext.fill(0);
  // Looked at last, so that nothing is awaited between this and the writing.
  if (!options.replace && existsSync(path)) throw new PipelineError("CONFIG_INVALID", `${path} exists; it is not replaced`, { path });
  if (options.follows !== undefined && fingerprint(path) !== options.follows)
    throw new PipelineError("STORE_UNAVAILABLE", `${path} was written by somebody else meanwhile; try again`, { path });
  writeJsonFile(path, { ...header, ciphertext, digest: digestOf(header, ciphertext) }, 0o600);
}

function openEnvelope(path: string, json: unknown): { header: Header; ciphertext: string; digest: string } {
  const { kind } = z.looseObject({ kind: z.unknown() }).catch({ kind: undefined }).parse(json);
  if (kind !== "sealed") {
    const what = `${path}: kind: must be "sealed"; a document that is not encrypted is not taken: make it anew with \`smile plant init\``;
    throw new PipelineError("DOCUMENT_INVALID", what, { path });
  }
  const parsed = SealedFile.safeParse(json);
  if (!parsed.success) throw damaged(path, parsed.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`).join("; "));
  const { ciphertext, digest, ...header } = parsed.data;
  return { header, ciphertext, digest };
}

const derive = promisify<string, Buffer, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(scrypt);

/** NFKC, so that a passphrase is the same one from every keyboard and file (NIST SP 800-63B, 5.1.1.2). */
async function deriveKey(passphrase: string, { cost, blockSize, parallelization, salt }: Header["kdf"]) {
  const output = await derive(passphrase.normalize("NFKC"), Buffer.from(salt, "base64"), 2 * KEY_BYTES, {
    N: cost,
    r: blockSize,
    p: parallelization,
    maxmem: 128 * (cost + parallelization + 2) * blockSize,
  });
  const check = hash("sha256", output.subarray(KEY_BYTES), "base64");
  output.fill(0, KEY_BYTES);
  return { key: output.subarray(0, KEY_BYTES), check };
}

function encrypt(key: Buffer, header: Header, plaintext: Buffer): Buffer {
  const cipher = createCipheriv("aes-256-gcm", key, Buffer.from(header.nonce, "base64"), { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.from(statementOf(header)));
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function decrypt(path: string, key: Buffer, header: Header, sealed: Buffer): Buffer {
  const split = Math.max(0, sealed.length - TAG_BYTES);
  const decipher = createDecipheriv("aes-256-gcm", key, Buffer.from(header.nonce, "base64"), { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.from(statementOf(header)));
  const first = decipher.update(sealed.subarray(0, split));
  try {
    decipher.setAuthTag(sealed.subarray(split));
    return Buffer.concat([first, decipher.final()]);
  } catch {
    throw damaged(path, "its authentication tag does not fit: it was changed by somebody who knew how to mend its digest");
  } finally {
    first.fill(0);
  }
}

/** The header in one spelling, whatever order the file has its fields in. */
function statementOf({ kind, version, holds, kdf, nonce, check }: Header): string {
  return JSON.stringify([kind, version, holds, kdf.name, kdf.cost, kdf.blockSize, kdf.parallelization, kdf.salt, nonce, check]);
}

function digestOf(header: Header, ciphertext: string): string {
  return hash("sha256", `${statementOf(header)}\n${ciphertext}`, "base64");
}

function damaged(path: string, why: string): PipelineError {
  return new PipelineError("FILE_DAMAGED", `${path} is damaged: ${why}`, { path });
}
