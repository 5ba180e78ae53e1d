import { mkdtempSync, readdirSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import { JobStore } from "../../src/segments/job-store.ts";
import type { ReadSegments } from "../../src/segments/segment-reader.ts";

const plant = "essen";
const headId = "a".repeat(64);
const job = { jobId: "survey", headId };
const LANES = 4;

/** A frame of the job whose record in lane i is in segments[i]. */
const frame = (sequence: number, segments: readonly number[], more: Partial<ReadSegments> = {}): ReadSegments => ({
  ...job,
  gateway: "g1",
  epoch: 7,
  frameCount: 3,
  lanes: LANES,
  segments: 5,
  records: segments.map((segment, lane) => ({ index: sequence * LANES + lane, segment })),
  revokedRecords: 0,
  ...more,
});
const file = () => join(mkdtempSync(join(tmpdir(), "smile-jobs-")), "jobs.db");
const inMemory = () => new JobStore({ path: ":memory:", plant });

it("stores every record once, and says which frames are missing until all are here", () => {
  using store = inMemory();
  expect(store.isComplete(job)).toBe(false);
  expect(store.store(frame(2, [4]))).toEqual({ stored: 1, duplicated: 0, contradictions: 0, deleted: false });
  store.store(frame(0, [0, 1, 2, 3]));
  expect(store.missing(job)).toEqual([1]);
  expect(store.isComplete(job)).toBe(false);
  store.store(frame(1, [1, 1, 1, 1]));
  expect(store.missing(job)).toEqual([]);
  expect(store.isComplete(job)).toBe(true);
  expect(Array.from(store.assignments(job), ({ segment }) => segment)).toEqual([0, 1, 2, 3, 1, 1, 1, 1, 4]);
  expect(store.sizes(job)).toEqual([1, 5, 1, 1, 1]);
});

it("counts an answer that comes again, and one that contradicts the first, which stays", () => {
  using store = inMemory();
  store.store(frame(0, [0, 1, 2, 3]));
  expect(store.store(frame(0, [0, 1, 2, 3]))).toMatchObject({ stored: 0, duplicated: 4, contradictions: 0 });
  expect(store.store(frame(0, [0, 1, 2, 4]))).toMatchObject({ stored: 0, duplicated: 3, contradictions: 1 });
  expect(store.duplicated(job)).toBe(7);
  expect(store.state(job)).toMatchObject({ frameCount: 3, frames: 1, records: 4, duplicated: 7, contradictions: 1 });
  expect(Array.from(store.assignments(job), ({ segment }) => segment)).toEqual([0, 1, 2, 3]);
});

it("holds a record that its frame did not have at first for a contradiction", () => {
  using store = inMemory();
  store.store(frame(2, [1]));
  expect(store.store(frame(2, [1, 2]))).toMatchObject({ stored: 0, duplicated: 1, contradictions: 1 });
  expect(store.state(job)!.records).toBe(1);
});

it("gives the same results, whatever the order and the repetitions in which frames come", () => {
  const frames = [frame(0, [0, 1, 2, 3]), frame(1, [4, 3, 2, 1]), frame(2, [0, 0])];
  using plain = inMemory();
  for (const each of frames) plain.store(each);
  fc.assert(
    fc.property(fc.array(fc.nat(2), { maxLength: 12 }), (order) => {
      using store = inMemory();
      for (const i of [...order, 2, 0, 1]) store.store(frames[i]!);
      expect(store.resultsHash(job)).toBe(plain.resultsHash(job));
      expect(store.state(job)).toMatchObject({ frames: 3, records: 10, contradictions: 0 });
    }),
    { seed: 5, numRuns: 30 },
  );
});

it("refuses a score that tells another story of its job than the first", () => {
  using store = inMemory();
  store.store(frame(0, [0]));
  for (const lie of [{ gateway: "g2" }, { epoch: 8 }, { frameCount: 4 }, { segments: 6 }, { lanes: 8 }]) {
    const [field] = Object.keys(lie);
    expect(() => store.store(frame(1, [0], lie))).toThrow(expect.objectContaining({ code: "SCORE_MISMATCH", facts: { field } }));
  }
  expect(store.missing(job)).toEqual([1, 2]);
});

it("keeps the answers of two heads apart", () => {
  using store = inMemory();
  const other = { ...job, headId: "b".repeat(64) };
  store.store(frame(0, [0, 1]));
  store.store(frame(0, [3], other));
  expect(store.sizes(other)).toEqual([0, 0, 0, 1, 0]);
  expect(store.state(job)).toMatchObject({ records: 2, contradictions: 0 });
  expect(store.resultsHash(other)).not.toBe(store.resultsHash(job));
});

it("goes on after a restart where it was, in a file that nobody else reads", () => {
  const path = file();
  {
    using store = new JobStore({ path, plant });
    store.store(frame(0, [0, 1, 2, 3]));
  }
  expect(statSync(path).mode & 0o777).toBe(0o600);
  using store = new JobStore({ path, plant });
  expect(store.missing(job)).toEqual([1, 2]);
  expect(store.store(frame(0, [0, 1, 2, 3]))).toMatchObject({ stored: 0, duplicated: 4 });
  expect(() => new JobStore({ path, plant: "bochum" })).toThrow(expect.objectContaining({ code: "FILE_DAMAGED" }));
});

it("keeps of a deleted job only that it was deleted: no byte of it in any file, and no way back", () => {
  const path = file();
  const lanes = 200;
  const pattern = Array.from({ length: lanes }, (_, lane) => (lane * 7) % 5);
  const records = pattern.map((segment, index) => ({ index, segment }));
  const inFiles = (bytes: Uint8Array) =>
    readdirSync(join(path, "..")).some((name) => readFileSync(join(path, "..", name)).includes(Buffer.from(bytes)));
  using store = new JobStore({ path, plant });
  store.store(frame(0, [], { lanes, records, frameCount: 1 }));
  expect(inFiles(Uint8Array.from(pattern))).toBe(true);
  store.delete(job.jobId, 99);
  expect(inFiles(Uint8Array.from(pattern))).toBe(false);
  expect(inFiles(Buffer.from(headId))).toBe(false);
  expect(store.isDeleted(job.jobId)).toBe(true);
  expect(store.state(job)).toBeUndefined();
  expect(() => store.sizes(job)).toThrow(expect.objectContaining({ code: "FILE_MISSING" }));
  expect(store.store(frame(0, [1]))).toEqual({ stored: 0, duplicated: 0, contradictions: 0, deleted: true });
  expect(store.state(job)).toBeUndefined();
});
