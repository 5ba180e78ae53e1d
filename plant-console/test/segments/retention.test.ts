import { existsSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { readAudit } from "@smile/runtime/audit-log";
import { peoplePath } from "@smile/runtime/people-file";
import { SqliteFile } from "@smile/runtime/sqlite";
import { expect, it } from "vitest";
import { JobStore } from "../../src/segments/job-store.ts";
import { endRetention } from "../../src/segments/retention.ts";
import { showRelease } from "../../src/segments/show-release.ts";
import { DAY_MS, HEAD, organisation, PLANT, people } from "./fixture-organisation.ts";

const rules = { retentionDays: 90, differencingDays: 365 };
const groups = [people(1, 30), people(31, 20), people(51, 10)];

it("deletes a job, its people and what was shown of it when its time has come, and keeps who was in which group until later", async () => {
  using own = organisation();
  await own.run("spring", groups);
  const release = own.release(own.ask("spring"));
  showRelease(own.showing, release);
  const { jobs, nowMs } = own.showing;
  expect(endRetention(own.showing, rules, nowMs + 89 * DAY_MS)).toEqual({ jobIds: [], forgotten: 0 });
  expect(endRetention(own.showing, rules, nowMs + 91 * DAY_MS)).toEqual({ jobIds: ["spring"], forgotten: 0 });
  expect(jobs.state({ jobId: "spring", headId: HEAD })).toBeUndefined();
  expect(existsSync(peoplePath(own.showing.people, "spring"))).toBe(false);
  expect(() => showRelease(own.showing, release)).toThrow(expect.objectContaining({ code: "FILE_MISSING" }));
  const [kept] = jobs.releases.all();
  expect(kept!.shown).toBeNull();
  expect(jobs.releases.members(kept!.releaseId)!.map(({ length }) => length)).toEqual([0, 30, 20, 10]);

  expect(endRetention(own.showing, rules, nowMs + 366 * DAY_MS)).toEqual({ jobIds: [], forgotten: 1 });
  expect(jobs.releases.all()).toEqual([]);
  expect([...readAudit(join(own.folder, "audit.db"))].map(({ action, facts }) => `${action} ${facts.what ?? ""}`)).toEqual([
    ...["release-granted ", "report-shown ", "retention-ended job", "release-refused ", "retention-ended members of releases"],
  ]);
});

it("deletes people files of jobs that were never answered once they are as old, and no others", async () => {
  using own = organisation();
  await own.run("lost", groups, () => []);
  await own.run("young", groups, () => []);
  const { nowMs } = own.showing;
  const at = (days: number) => (nowMs + days * DAY_MS) / 1000;
  utimesSync(peoplePath(own.showing.people, "lost"), at(0), at(0));
  utimesSync(peoplePath(own.showing.people, "young"), at(50), at(50));
  endRetention(own.showing, rules, nowMs + 100 * DAY_MS);
  expect(["lost", "young"].map((jobId) => existsSync(peoplePath(own.showing.people, jobId)))).toEqual([false, true]);
});

it("takes a store of the version before: its jobs stay, their retention counts from the upgrade, and its cursor begins anew", () => {
  using own = organisation();
  const path = join(own.folder, "old.db");
  {
    const options = { path, role: "job store", unavailable: "STORE_UNAVAILABLE", version: 1, busyMs: 100 } as const;
    using old = new SqliteFile({ ...options, tables: OLD_TABLES });
    old.run("INSERT INTO owner VALUES (1, ?)", PLANT);
    old.run("INSERT INTO jobs VALUES (1, 'spring', ?, 'records', 1, 1, 4, 3, 1, 4, 0, 0)", HEAD);
    old.run("INSERT INTO frames VALUES (1, 0, ?)", Uint8Array.of(0, 1, 2, 255));
  }
  const before = Date.now();
  using jobs = new JobStore({ path, plant: PLANT });
  const name = { jobId: "spring", headId: HEAD };
  expect(Array.from(jobs.assignments(name), ({ segment }) => segment)).toEqual([0, 1, 2]);
  expect(jobs.state(name)!.atMs).toBeGreaterThanOrEqual(before - 1);
  expect(jobs.cursor).toEqual({ topicId: null, partition: null, next: null });
  expect(jobs.releases.all()).toEqual([]);
});

/** As version 1 had them. */
const OLD_TABLES = `
  CREATE TABLE owner (one INTEGER PRIMARY KEY CHECK (one = 1), plant TEXT NOT NULL) STRICT;
  CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL, head_id TEXT NOT NULL,
    gateway TEXT NOT NULL, epoch INTEGER NOT NULL,
    frame_count INTEGER NOT NULL, lanes INTEGER NOT NULL, segments INTEGER NOT NULL,
    frames INTEGER NOT NULL DEFAULT 0, records INTEGER NOT NULL DEFAULT 0,
    duplicated INTEGER NOT NULL DEFAULT 0, contradictions INTEGER NOT NULL DEFAULT 0,
    UNIQUE (job_id, head_id)
  ) STRICT;
  CREATE TABLE frames (job INTEGER NOT NULL, sequence INTEGER NOT NULL, segments BLOB NOT NULL, PRIMARY KEY (job, sequence)) STRICT, WITHOUT ROWID;
  CREATE TABLE deleted (job_id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`;
