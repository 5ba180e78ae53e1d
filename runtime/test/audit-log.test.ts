import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, statSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { PipelineError } from "@smile/errors/pipeline-error";
import { documentId } from "@smile/schemas/documents";
import fc from "fast-check";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type AuditEntry, type AuditRow, auditRow, checkedEntries, NO_ENTRY } from "../src/audit-entry.ts";
import { openAuditLog, readAudit, silentAudit, verifyAudit } from "../src/audit-log.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "smile-audit-"));
  path = join(folder, "audit.db");
});
afterEach(() => rm(folder, { recursive: true }));

const NOW = 1_790_000_000_000;
const open = (actor = "plant-console acme/c1") => openAuditLog({ path, actor, clock: () => NOW });

/** What a person can do who may write the file. */
function tamper(statement: string): void {
  using file = new DatabaseSync(path);
  file.exec(`DROP TRIGGER IF EXISTS entries_stay; DROP TRIGGER IF EXISTS entries_last; ${statement}`);
}

/** The sequence that verification names; 0 when it finds nothing. */
function wrongSequence(check: () => unknown): number {
  try {
    check();
    return 0;
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code !== "AUDIT_BROKEN") throw error;
    return error.facts.sequence as number;
  }
}

it("keeps what was appended, across openings, each entry with the hash of the one before", () => {
  {
    using audit = open();
    expect(audit.head()).toBe(NO_ENTRY);
    audit.append("key-made", { keyEpoch: 1, keyId: "ab" });
  }
  using audit = open("smile plant");
  audit.append("key-used", { windows: 12, lost: false });
  const entries = [...readAudit(path)];
  expect(entries).toMatchObject([
    { sequence: 1, atMs: NOW, actor: "plant-console acme/c1", action: "key-made", facts: { keyEpoch: 1, keyId: "ab" }, previous: NO_ENTRY },
    { sequence: 2, atMs: NOW, actor: "smile plant", action: "key-used", facts: { windows: 12, lost: false }, previous: entries[0]!.hash },
  ]);
  expect(verifyAudit(path)).toEqual({ entries: 2, head: audit.head() });
});

it("hashes the canonical JSON of an entry's other fields, so that anyone can check it", () => {
  using audit = open();
  audit.append("key-used", { zebra: 1, apple: "é\n\u{1f600}", Middle: 1e21, yes: true });
  for (const { hash, ...rest } of readAudit(path)) expect(documentId(rest)).toBe(hash);
});

it("takes entries of several processes at once, none lost and all in one chain", async () => {
  const child = fileURLToPath(new URL("./audit-append.ts", import.meta.url));
  const actors = ["a", "b", "c"];
  await Promise.all(actors.map((actor) => promisify(execFile)(process.execPath, [child, path, actor, "25"])));
  const entries = [...readAudit(path)];
  expect(verifyAudit(path).entries).toBe(75);
  for (const actor of actors) {
    const own = entries.filter((entry) => entry.actor === actor).map(({ facts }) => facts.i);
    expect(own).toEqual(Array.from({ length: 25 }, (_, i) => i));
  }
});

it("refuses to change or remove an entry by SQL that does not take the guard away first", () => {
  using audit = open();
  audit.append("key-made", {});
  using file = new DatabaseSync(path);
  const replace = "REPLACE INTO entries VALUES (1, '', '')"; // SQLite asks no guard against deleting about it
  for (const statement of ["UPDATE entries SET body = ''", "DELETE FROM entries", replace])
    expect(() => file.exec(statement)).toThrow("an audit log is only added to");
});

it("finds a cut-off end, and a chain that was written anew, only by a head that was noted", () => {
  using audit = open();
  audit.append("key-made", { keyEpoch: 1 });
  audit.append("key-used", { windows: 5 });
  const noted = audit.head();
  audit.append("key-destroyed", { keyEpoch: 1 });
  expect(verifyAudit(path, { head: noted }).entries).toBe(3);
  expect(verifyAudit(path, { head: NO_ENTRY }).entries).toBe(3);
  tamper("DELETE FROM entries WHERE sequence >= 2");
  expect(verifyAudit(path).entries).toBe(1);
  expect(wrongSequence(() => verifyAudit(path, { head: noted }))).toBe(2);
  audit.append("key-used", { windows: 4 });
  expect(verifyAudit(path).entries).toBe(2);
  expect(wrongSequence(() => verifyAudit(path, { head: noted }))).toBe(3);
});

it.each([
  ["UPDATE entries SET body = replace(body, '1790000000000', '1790000000001') WHERE sequence = 2", 2, "was changed"],
  ["UPDATE entries SET hash = replace(hash, substr(hash, 1, 1), 'x') WHERE sequence = 2", 2, "was changed"],
  ["DELETE FROM entries WHERE sequence = 2", 2, "was removed"],
  ["INSERT INTO entries SELECT 0, body, hash FROM entries WHERE sequence = 1", 1, "inserted"],
  ["UPDATE entries SET sequence = sequence + 10; INSERT INTO entries SELECT sequence - 10, body, hash FROM entries", 4, "was removed"],
])("says which entry is wrong and why: %s", (statement, sequence, why) => {
  using audit = open();
  for (let i = 0; i < 3; i++) audit.append("key-used", { i });
  tamper(statement);
  expect(wrongSequence(() => verifyAudit(path))).toBe(sequence);
  expect(() => verifyAudit(path)).toThrow(why);
});

it("finds any single change to any row", () => {
  const facts = fc.dictionary(fc.string({ maxLength: 5 }), fc.oneof(fc.string(), fc.integer(), fc.boolean()), { maxKeys: 4 });
  const change = fc.record({
    at: fc.nat(),
    other: fc.nat(),
    // A row that is re-chained is made as an honest program would make it, for what stands before it.
    kind: fc.constantFrom("field", "byte", "hash", "rehashed", "delete", "insert", "swap", "rechain two"),
    field: fc.constantFrom<keyof AuditEntry>("sequence", "atMs", "actor", "action", "facts", "previous"),
  });
  fc.assert(
    fc.property(fc.array(facts, { minLength: 4, maxLength: 12 }), change, (all, { at, other, kind, field }) => {
      const rows: AuditRow[] = [];
      for (const [i, some] of all.entries()) {
        const previous = rows.at(-1)?.hash ?? NO_ENTRY;
        rows.push(auditRow({ sequence: i + 1, atMs: NOW + i, actor: `a${i}`, action: "key-used", facts: some, previous }));
      }
      expect([...checkedEntries(rows, "file")]).toHaveLength(rows.length);
      // The last rows stay: a chain that ends elsewhere is found by a noted head only.
      const i = at % (rows.length - 3);
      const j = i + 1 + (other % (rows.length - i - 1));
      const entry = JSON.parse(rows[i]!.body);
      const changed = { ...entry, [field]: otherThan(entry[field]) };
      const put = (from: number, count: number, ...instead: AuditRow[]) => rows.toSpliced(from, count, ...instead);
      const renumbered = (list: AuditRow[]) => list.map((row, k) => ({ ...row, sequence: k + 1 }));
      const ways: Record<string, () => AuditRow[]> = {
        field: () => put(i, 1, { ...rows[i]!, body: JSON.stringify(changed) }),
        byte: () => put(i, 1, { ...rows[i]!, body: ` ${rows[i]!.body}` }),
        hash: () => put(i, 1, { ...rows[i]!, hash: rows[j]!.hash }),
        rehashed: () => put(i, 1, { ...auditRow(changed), sequence: i + 1 }),
        delete: () => (other % 2 === 0 ? put(i, 1) : renumbered(put(i, 1))),
        insert: () => renumbered(put(i, 0, rows[j]!)),
        swap: () => renumbered(rows.with(i, rows[j]!).with(j, rows[i]!)),
        "rechain two": () => {
          const first = auditRow({ ...entry, facts: otherThan(entry.facts) });
          return put(i, 2, first, auditRow({ ...JSON.parse(rows[i + 1]!.body), previous: first.hash }));
        },
      };
      const found = wrongSequence(() => [...checkedEntries(ways[kind]!(), "file")]);
      expect(found).toBeGreaterThan(i);
      // Told at the change itself, or at the first entry that does not fit what was put before it.
      expect(found).toBeLessThanOrEqual(i + 3);
    }),
    { seed: 4, numRuns: 500 },
  );
});

function otherThan(value: unknown): unknown {
  if (typeof value === "number") return value + 1;
  if (typeof value === "string") return /^[0-9a-f]{64}$/.test(value) ? value.replace(/./, (c) => (c === "f" ? "0" : "f")) : `${value}!`;
  return { ...(value as object), another: 1 };
}

it("verifies without changing the file, and makes none where there is none", () => {
  expect(() => verifyAudit(path)).toThrow(/FILE_MISSING/);
  expect(readdirSync(folder)).toEqual([]);
  open()[Symbol.dispose]();
  const before = statSync(path);
  expect(verifyAudit(path)).toEqual({ entries: 0, head: NO_ENTRY });
  expect(statSync(path)).toMatchObject({ mtimeMs: before.mtimeMs, size: before.size });
});

it("takes no other database for an audit log, and no fact that JSON has no number for", () => {
  new DatabaseSync(path).close();
  using other = new DatabaseSync(join(folder, "other.db"));
  other.exec("CREATE TABLE entries (sequence INTEGER)");
  expect(() => verifyAudit(join(folder, "other.db"))).toThrow(/FILE_DAMAGED/);
  using audit = open();
  expect(() => audit.append("key-used", { windows: Number.NaN })).toThrow(RangeError);
  audit.append("key-used", { windows: 1 });
  expect(verifyAudit(path).entries).toBe(1);
});

it("keeps nothing where no audit log was asked for", () => {
  silentAudit.append("key-used", {});
  expect(silentAudit.head()).toBe(NO_ENTRY);
});
