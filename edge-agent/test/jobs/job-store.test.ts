import { statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type JobContent, JobStore } from "../../src/jobs/job-store.ts";
import { contentFor, newFolder } from "./job-fixture.ts";

const newPath = () => join(newFolder(), "jobs.sqlite");
const coded = (code: string, facts = {}) => expect.objectContaining({ code, facts: expect.objectContaining(facts) });

describe("a job in the store", () => {
  it("keeps its epoch, its start and its frames over a restart, in a file that nobody else reads", () => {
    const path = newPath();
    const first = new JobStore(path, () => 1_700_000_000_123);
    const job = first.begin("job", contentFor(10));
    expect(job).toMatchObject({ frameCount: 4, state: "running", acknowledged: 0, startedAtMs: 1_700_000_000_123 });
    first.noteAcknowledged("job", [0, 2]);
    first[Symbol.dispose]();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    using again = new JobStore(path, () => 1_800_000_000_000);
    expect(again.resume("job", contentFor(10))).toEqual({ ...job, acknowledged: 2 });
    expect(again.acknowledged("job")).toEqual({ position: 1, beyond: new Set([2]) });
  });

  it("is begun once under its id, whatever became of it, and with an epoch of its own", () => {
    using store = new JobStore(newPath(), () => 1_700_000_000_000);
    const epochs = Array.from({ length: 50 }, (_, i) => store.begin(`job-${i}`, contentFor(1)).epoch);
    expect(new Set(epochs).size).toBe(50);
    store.cancel("job-0");
    expect(() => store.begin("job-0", contentFor(1))).toThrow(coded("JOB_EXISTS"));
    expect(() => store.begin("none", contentFor(0))).toThrow(coded("RECORDS_TOO_FEW"));
    expect(() => store.job("none")).toThrow(coded("JOB_UNKNOWN"));
    expect(store.jobs()).toHaveLength(50);
  });

  it.each<[keyof JobContent, JobContent[keyof JobContent]]>([
    ["fileHash", "0".repeat(64)],
    ["featureSetId", "0".repeat(64)],
    ["paramsId", "0".repeat(64)],
    ["keyId", "0".repeat(64)],
    ["records", 11],
    ["lanes", 2],
    ["plant", "other"],
    ["gateway", "other"],
  ])("is not resumed with another %s", (field, value) => {
    using store = new JobStore(newPath());
    store.begin("job", contentFor(10));
    store.pause("job");
    expect(() => store.resume("job", { ...contentFor(10), [field]: value })).toThrow(coded("JOB_CHANGED", { field }));
    expect(store.job("job").state).toBe("paused");
  });

  it("of a store of version 1 stays known, and is begun anew because it does not say its key", () => {
    const path = newPath();
    {
      using old = new DatabaseSync(path);
      old.exec(`CREATE TABLE jobs (job_id TEXT PRIMARY KEY, epoch INTEGER NOT NULL UNIQUE, started_ms INTEGER NOT NULL, plant TEXT NOT NULL,
        gateway TEXT NOT NULL, file_hash TEXT NOT NULL, feature_set_id TEXT NOT NULL, params_id TEXT NOT NULL, records INTEGER NOT NULL,
        lanes INTEGER NOT NULL, frame_count INTEGER NOT NULL, position INTEGER NOT NULL, state TEXT NOT NULL) STRICT;
        CREATE TABLE beyond (job_id TEXT NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (job_id, sequence)) STRICT, WITHOUT ROWID;
        INSERT INTO jobs VALUES ('old', 1, 2, 'plant', 'gateway-1', 'f', 's', 'p', 7, 3, 3, 2, 'running'); PRAGMA user_version = 1;`);
    }
    using store = new JobStore(path);
    expect(store.job("old")).toMatchObject({ records: 7, acknowledged: 2, missing: 0, unknown: 0, state: "running" });
    expect(() => store.resume("old", { keyId: "k" })).toThrow(coded("JOB_CHANGED", { field: "keyId" }));
    expect(store.begin("new", contentFor(3))).toMatchObject({ keyId: "cd".repeat(32) });
  });

  it("goes no further once it is cancelled or done, and is done only with every frame", () => {
    using store = new JobStore(newPath());
    store.begin("cancelled", contentFor(3));
    store.cancel("cancelled");
    store.noteAcknowledged("cancelled", [0]);
    expect(store.finish("cancelled").state).toBe("cancelled");
    store.begin("done", contentFor(6));
    store.noteAcknowledged("done", [1]);
    expect(store.finish("done").state).toBe("running");
    store.noteAcknowledged("done", [0]);
    expect(store.finish("done").state).toBe("done");
    for (const jobId of ["cancelled", "done"]) {
      expect(() => store.resume(jobId, contentFor(jobId === "done" ? 6 : 3))).toThrow(coded("JOB_ENDED"));
      expect(() => store.pause(jobId)).toThrow(coded("JOB_ENDED"));
      expect(() => store.cancel(jobId)).toThrow(coded("JOB_ENDED"));
    }
  });

  it("is paused by another process that holds the file", () => {
    const path = newPath();
    using runner = new JobStore(path);
    runner.begin("job", contentFor(3));
    using other = new JobStore(path);
    other.pause("job");
    expect(runner.job("job").state).toBe("paused");
  });

  it("knows exactly the frames that were noted, in whatever order and however often", () => {
    using store = new JobStore(newPath());
    let jobs = 0;
    fc.assert(
      fc.property(fc.array(fc.array(fc.nat(19), { maxLength: 8 }), { maxLength: 8 }), (batches) => {
        const jobId = `job-${jobs++}`;
        store.begin(jobId, contentFor(60));
        for (const batch of batches) store.noteAcknowledged(jobId, batch);
        const { position, beyond } = store.acknowledged(jobId);
        const known = [...Array(position).keys(), ...[...beyond].toSorted((a, b) => a - b)];
        expect(known).toEqual([...new Set(batches.flat())].toSorted((a, b) => a - b));
        expect(beyond.has(position)).toBe(false);
        expect(store.job(jobId).acknowledged).toBe(known.length);
      }),
      { seed: 5, numRuns: 40 },
    );
  });
});
