import { existsSync } from "node:fs";
import { type Facts, PipelineError } from "@smile/errors/pipeline-error";
import { type AuditAction, type AuditEntry, type AuditRow, auditRow, checkedEntries, NO_ENTRY } from "./audit-entry.ts";
import { SqliteFile, type SqliteOptions } from "./sqlite.ts";

/**
 * A record of what was done with keys, credentials, registers and deployments, that can be added to and not quietly changed: each
 * entry holds the hash of the one before. Whoever may write the file can still write it anew from any entry on, or cut off its end;
 * that is found by whoever noted a head earlier, outside of that person's reach. See `verifyAudit`.
 */
export interface AuditLog extends Disposable {
  /**
   * Durable when it returns. Do it before what it tells of, where that cannot be undone.
   * @param facts names, ids, hashes, counts: never a secret, a sensor value or a score
   * @throws {PipelineError} STORE_UNAVAILABLE, FILE_DAMAGED
   */
  append(action: AuditAction, facts: Facts): void;
  /** Hash of the newest entry: what to note elsewhere. 64 zeros when there is none. */
  head(): string;
}

/** For code that is given no audit log: it keeps nothing. */
export const silentAudit: AuditLog = { append() {}, head: () => NO_ENTRY, [Symbol.dispose]() {} };

/** In the header of the file: tells an audit log from other SQLite files. "SMau" */
const APPLICATION = 0x534d6175;

const options = (path: string): SqliteOptions => ({
  path,
  role: "audit log",
  unavailable: "STORE_UNAVAILABLE",
  version: 1,
  // Several programs may share a file, and each holds it for one flush.
  busyMs: 10_000,
  tables: `
    PRAGMA application_id = ${APPLICATION};
    CREATE TABLE entries (sequence INTEGER PRIMARY KEY, body TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
    CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'an audit log is only added to'); END;
    CREATE TRIGGER entries_once BEFORE INSERT ON entries WHEN EXISTS (SELECT 1 FROM entries WHERE sequence = NEW.sequence)
      BEGIN SELECT RAISE(ABORT, 'an audit log is only added to'); END;
    CREATE TRIGGER entries_last BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'an audit log is only added to'); END;
  `,
});
const newest = "SELECT sequence, body, hash FROM entries ORDER BY sequence DESC LIMIT 1";

/**
 * Opens an audit log for adding to it; several processes may have the same file open.
 * @param path file, made when missing; its folder must exist
 * @param actor which program, and for whom, in every entry: "plant-console acme/c1"
 * @throws {PipelineError} STORE_UNAVAILABLE, FILE_DAMAGED
 */
export function openAuditLog({ path, actor, clock = Date.now }: { path: string; actor: string; clock?: () => number }): AuditLog {
  const file = new SqliteFile(options(path));
  return {
    append(action, facts) {
      // The head is read under the lock for writing: no two entries follow the same one.
      file.transaction(() => {
        const last = file.first<AuditRow>(newest);
        const follows = { sequence: (last?.sequence ?? 0) + 1, previous: last?.hash ?? NO_ENTRY };
        const { sequence, body, hash } = auditRow({ ...follows, atMs: clock(), actor, action, facts });
        file.run("INSERT INTO entries VALUES (?, ?, ?)", sequence, body, hash);
      });
    },
    head: () => file.first<AuditRow>(newest)?.hash ?? NO_ENTRY,
    [Symbol.dispose]: () => file[Symbol.dispose](),
  };
}

/**
 * The entries of an audit log from the first on, each checked before it is handed out. Changes nothing.
 * @throws {PipelineError} AUDIT_BROKEN at the first entry that is wrong; FILE_MISSING, FILE_DAMAGED, STORE_UNAVAILABLE
 */
export function* readAudit(path: string): Generator<AuditEntry> {
  if (!existsSync(path)) throw new PipelineError("FILE_MISSING", `there is no audit log ${path}`, { path });
  using file = new SqliteFile({ ...options(path), readOnly: true });
  if (file.first<{ application_id: number }>("PRAGMA application_id")?.application_id !== APPLICATION) {
    throw new PipelineError("FILE_DAMAGED", `${path} is no audit log`, { path });
  }
  yield* checkedEntries(file.each<AuditRow>("SELECT sequence, body, hash FROM entries ORDER BY sequence"), path);
}

/**
 * Checks the whole chain.
 * @param head a hash that was noted earlier. Without it, entries that were cut off the end, and an end that was written anew, cannot be
 *   told: a shorter or another chain is a sound chain too
 * @returns how many entries there are, and the hash of the newest one: what to note for the next time
 * @throws {PipelineError} AUDIT_BROKEN, also when no entry has the noted hash; as `readAudit`
 */
export function verifyAudit(path: string, { head: noted }: { head?: string } = {}): { entries: number; head: string } {
  let entries = 0;
  let head = NO_ENTRY;
  let met = noted === undefined || noted === NO_ENTRY;
  for (const { hash } of readAudit(path)) {
    entries += 1;
    head = hash;
    met ||= hash === noted;
  }
  if (!met) {
    const what = `${path}: no entry has the noted hash: entries were cut off behind entry ${entries}, or written anew before it`;
    throw new PipelineError("AUDIT_BROKEN", what, { path, sequence: entries + 1 });
  }
  return { entries, head };
}
