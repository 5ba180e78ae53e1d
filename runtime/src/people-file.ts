import { hash } from "node:crypto";
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import { checkPrivate } from "./private-file.ts";

/** Whose record stands at which place of a job, by pseudonym: private to the organisation. */
export type PeopleOfJob = { readonly jobId: string; readonly pseudonyms: BigUint64Array };

/** First bytes of the file: what it is, and the version of its layout. */
const MAGIC = Buffer.from("SMpeopl1", "latin1");
const BYTES = 8;
const DIGEST_BYTES = 32;
const JOB_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** Where the people of a job are kept. @throws {PipelineError} JOB_UNKNOWN for an id that is no name of a file */
export function peoplePath(folder: string, jobId: string): string {
  if (!JOB_ID.test(jobId)) throw new PipelineError("JOB_UNKNOWN", "a job's id has 1 to 64 letters, digits, dashes or underscores", {});
  return join(folder, `${jobId}.people`);
}

/**
 * Writes the pseudonyms of a job's people in the order of its records, for nobody but the owner to read. On the disk when it resolves;
 * a crash before leaves what was there. Its folder is made. Layout: "SMpeopl1", length of the id (1 byte), id, pseudonyms (8 bytes
 * each, little-endian), SHA-256 of all of that.
 * @param pseudonyms as many as there are records, each below 2^64
 * @throws {PipelineError} JOB_CHANGED for another number; MAPPING_INVALID where two records are one person's; JOB_UNKNOWN for an id
 *   that is no name; STORE_UNAVAILABLE
 */
export async function writePeopleFile(
  path: string,
  { jobId, records }: { readonly jobId: string; readonly records: number },
  pseudonyms: Iterable<bigint> | AsyncIterable<bigint>,
): Promise<void> {
  peoplePath("", jobId);
  const head = Buffer.concat([MAGIC, Buffer.of(jobId.length), Buffer.from(jobId, "latin1")]);
  const file = Buffer.alloc(head.length + BYTES * records + DIGEST_BYTES);
  head.copy(file);
  const all = new BigUint64Array(records);
  let count = 0;
  for await (const pseudonym of pseudonyms) {
    if (count === records) throw otherNumber(jobId, records);
    all[count] = pseudonym;
    file.writeBigUInt64LE(pseudonym, head.length + BYTES * count++);
  }
  if (count < records) throw otherNumber(jobId, records);
  checkDifferent(jobId, all);
  const end = file.length - DIGEST_BYTES;
  file.set(hash("sha256", file.subarray(0, end), "buffer"), end);
  writeDurably(path, file);
}

/**
 * @throws {PipelineError} FILE_MISSING; FILE_DAMAGED where a byte is not as it was written; CONFIG_INVALID when others may read it
 */
export function readPeopleFile(path: string): PeopleOfJob {
  checkPrivate(path, "list of a job's people");
  let file: Buffer;
  try {
    file = readFileSync(path);
  } catch (error) {
    throw new PipelineError("FILE_MISSING", `people file ${path} cannot be read`, { path }, error);
  }
  const start = MAGIC.length + 1 + (file[MAGIC.length] ?? 0);
  const end = file.length - DIGEST_BYTES;
  const isWhole =
    file.subarray(0, MAGIC.length).equals(MAGIC) &&
    end >= start &&
    (end - start) % BYTES === 0 &&
    hash("sha256", file.subarray(0, end), "buffer").equals(file.subarray(end));
  if (!isWhole) throw new PipelineError("FILE_DAMAGED", `${path} is no people file, or not as it was written`, { path });
  const pseudonyms = new BigUint64Array((end - start) / BYTES);
  for (let i = 0; i < pseudonyms.length; i++) pseudonyms[i] = file.readBigUInt64LE(start + BYTES * i);
  return { jobId: file.toString("latin1", MAGIC.length + 1, start), pseudonyms };
}

/** Two records of one person would let a group of nine pass for ten, and hide who left between two jobs. */
function checkDifferent(jobId: string, pseudonyms: BigUint64Array): void {
  const sorted = pseudonyms.toSorted();
  const alike = sorted.filter((pseudonym, i) => pseudonym === sorted[i - 1]).length;
  if (alike === 0) return;
  const what = `the identifier names ${alike + 1} or more records of job ${jobId} alike; each record is a person of its own`;
  throw new PipelineError("MAPPING_INVALID", what, { jobId, alike });
}

function writeDurably(path: string, content: Uint8Array): void {
  const draft = `${path}.${process.pid}.tmp`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    rmSync(draft, { force: true }); // of a process with this number that was killed
    writeAndFlush(draft, content);
    renameSync(draft, path);
    flushFolder(dirname(path));
  } catch (error) {
    rmSync(draft, { force: true });
    if (isPipelineError(error)) throw error;
    throw new PipelineError("STORE_UNAVAILABLE", `people file ${path} cannot be written`, { path }, error);
  }
}

function writeAndFlush(path: string, content: Uint8Array): void {
  const file = openSync(path, "wx", 0o600);
  try {
    for (let at = 0; at < content.length; ) at += writeSync(file, content, at);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** The name itself has to last, too. Windows has no such flush. */
function flushFolder(path: string): void {
  if (process.platform === "win32") return;
  const folder = openSync(path, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

function otherNumber(jobId: string, records: number): PipelineError {
  return new PipelineError("JOB_CHANGED", `job ${jobId} has ${records} records, and not as many people`, { jobId, records });
}
