import { hash } from "node:crypto";
import { type Facts, PipelineError } from "@smile/errors/pipeline-error";
import { z } from "zod";

/** What is recorded. A name is never given another meaning; new ones may be added. */
export type AuditAction =
  | "key-made"
  | "key-used"
  | "key-activated"
  | "key-retired"
  | "key-destroyed"
  | "gateway-added"
  | "gateway-renewed"
  | "gateway-revoked"
  | "register-exported"
  | "register-taken"
  | "register-refused"
  | "deployment-loaded"
  | "score-signers-pinned"
  | "console-started"
  | "keystore-opened"
  | "release-requested"
  | "release-granted"
  | "release-refused"
  | "report-shown"
  | "job-deleted"
  | "column-permitted"
  | "job-started"
  | "job-ended"
  | "service-started"
  | "retention-ended";

/** The hash before the first entry. */
export const NO_ENTRY = "0".repeat(64);

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const Entry = z.strictObject({
  /** Counts the entries of a file from 1. */
  sequence: z.number().int().min(1),
  /** Milliseconds since 1970, by the clock of whoever appended. */
  atMs: z.number().int().min(0),
  /** Which program did it, and for whom. */
  actor: z.string(),
  /** An `AuditAction`, or what a newer version calls something. */
  action: z.string(),
  /** Names, ids, hashes, counts: never a secret, a sensor value or a score. */
  facts: z.record(z.string(), z.union([z.string(), z.number(), z.boolean()])),
  /** Hash of the entry before; of the first one `NO_ENTRY`. */
  previous: sha256,
  /** SHA-256 of the canonical JSON (RFC 8785) of all of the above. */
  hash: sha256,
});
export type AuditEntry = z.infer<typeof Entry>;

/** One row of the file: an entry's canonical JSON without its hash, and the hash. */
export type AuditRow = { readonly sequence: number; readonly body: string; readonly hash: string };

/** @throws {RangeError} for a number that JSON does not have */
export function auditRow({ sequence, atMs, actor, action, facts, previous }: Omit<AuditEntry, "hash">): AuditRow {
  if (Object.values(facts).some((value) => typeof value === "number" && !Number.isFinite(value))) {
    throw new RangeError("a fact of an audit entry must be a finite number");
  }
  // Canonical: names in order, no space; RFC 8785 takes the rest from ECMAScript.
  const body = JSON.stringify({ action, actor, atMs, facts: inOrder(facts), previous, sequence });
  return { sequence, body, hash: hash("sha256", body) };
}

/**
 * The entries behind the rows, each checked against the one before.
 * @throws {PipelineError} AUDIT_BROKEN naming the first sequence that is wrong, and why
 */
export function* checkedEntries(rows: Iterable<AuditRow>, path: string): Generator<AuditEntry> {
  let previous = NO_ENTRY;
  let sequence = 1;
  for (const row of rows) {
    const entry = readRow(row);
    const wrong = faultOf(row, entry, sequence, previous);
    if (wrong !== undefined) throw new PipelineError("AUDIT_BROKEN", `${path}: entry ${sequence} ${wrong}`, { path, sequence });
    yield entry!;
    previous = row.hash;
    sequence += 1;
  }
}

function faultOf(row: AuditRow, entry: AuditEntry | undefined, sequence: number, previous: string): string | undefined {
  if (row.sequence < 1) return "has another before it, which was inserted";
  if (row.sequence !== sequence) return "was removed";
  if (entry === undefined || hash("sha256", row.body) !== row.hash) return "was changed";
  if (entry.sequence !== sequence) return `stood at ${entry.sequence}: entries were reordered, inserted or removed`;
  if (entry.previous !== previous) return "does not follow the one before: one of the two was put in the place of another";
  return undefined;
}

function readRow({ body, hash }: AuditRow): AuditEntry | undefined {
  try {
    return Entry.parse({ ...JSON.parse(body), hash });
  } catch {
    return undefined;
  }
}

function inOrder(facts: Facts): Facts {
  return Object.fromEntries(Object.entries(facts).sort(([a], [b]) => (a < b ? -1 : 1)));
}
