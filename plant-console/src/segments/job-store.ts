import { createHash } from "node:crypto";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import { SqliteFile } from "@smile/runtime/sqlite";
import type { Cursor } from "@smile/schemas/cursor";
import { ReleaseTable } from "./release-table.ts";
import type { ReadSegments, SegmentedRecord } from "./segment-reader.ts";
import { JOB_TABLES } from "./tables.ts";

/** A job's answers by one head. */
export type JobName = Pick<ReadSegments, "jobId" | "headId">;

/** What one score did. `deleted`: the job's assignments were deleted before, and stay so. All counts are records. */
export type Assigned = { readonly stored: number; readonly duplicated: number; readonly contradictions: number; readonly deleted: boolean };

/** All counts but the frames are records. `contradictions`: a second, different answer came; the first stayed. */
export type JobState = {
  readonly frameCount: number;
  readonly frames: number;
  readonly records: number;
  /** Answers that came again as they were, as after a restart; dropped. */
  readonly duplicated: number;
  readonly contradictions: number;
  /** When its first score came: its retention counts from here. */
  readonly atMs: number;
};

/** No record is in this lane of a frame. */
const NONE = 255;

type JobRow = Omit<ReadSegments, "records" | "revokedRecords"> & JobState & { readonly id: number };

/**
 * Which record of which job is in which segment, in one SQLite file that only its owner reads. A frame's records are stored together
 * and once. What `store` returned from is on the disk. What was deleted is overwritten, and never comes back.
 */
export class JobStore implements Disposable {
  readonly #db: SqliteFile;
  /** Releases that were shown, in the same file. */
  readonly releases: ReleaseTable;

  /**
   * @param options.path of the file, made when it is not there; ":memory:" for a store that ends with the process
   * @param options.plant whose jobs these are
   * @throws {PipelineError} STORE_UNAVAILABLE when the file cannot be opened, FILE_DAMAGED when it is no store of this plant
   */
  constructor({ path, plant }: { path: string; plant: string }) {
    this.#db = new SqliteFile({
      path,
      role: "job store",
      unavailable: "STORE_UNAVAILABLE",
      ...JOB_TABLES,
      busyMs: 30_000, // the service shares it with commands, which hold it while they compare releases
      pragmas: "PRAGMA secure_delete = ON;",
    });
    this.releases = new ReleaseTable(this.#db);
    try {
      this.#db.run("INSERT OR IGNORE INTO owner (one, plant) VALUES (1, ?)", plant);
      const { owner } = this.#db.first<{ owner: string }>("SELECT plant AS owner FROM owner")!;
      if (owner !== plant) throw new PipelineError("FILE_DAMAGED", `the job store ${path} is not plant ${plant}'s`, { path, plant, owner });
    } catch (error) {
      this.#db[Symbol.dispose]();
      throw error;
    }
  }

  /** How far the plant has stored its jobs' scores. */
  get cursor(): Cursor {
    return this.#db.first<Cursor>("SELECT topic_id AS topicId, partition, next FROM cursor")!;
  }

  /**
   * Stores what a score said, in one transaction.
   * @throws {PipelineError} SCORE_MISMATCH naming the field in which the job differs from what its first score said; STORE_UNAVAILABLE
   *   or FILE_DAMAGED. Then nothing of it is stored.
   */
  store(read: ReadSegments, nowMs = Date.now()): Assigned {
    return this.#db.transaction(() => this.#assign(read, nowMs));
  }

  /**
   * Stores what several scores said and the cursor behind them, in one transaction.
   * @returns what each did; the error where a score's job differs from what its first score said, and nothing of it is stored
   * @throws {PipelineError} STORE_UNAVAILABLE, FILE_DAMAGED; then nothing of them is stored
   */
  commit(reads: readonly ReadSegments[], { topicId, partition, next }: Cursor, nowMs: number): (Assigned | PipelineError)[] {
    return this.#db.transaction(() => {
      this.#db.run("UPDATE cursor SET topic_id = ?, partition = ?, next = ?", topicId, partition, next);
      return reads.map((read) => {
        try {
          return this.#assign(read, nowMs);
        } catch (error) {
          if (isPipelineError(error, "SCORE_MISMATCH")) return error;
          throw error;
        }
      });
    });
  }

  /** Every job of which something is here, by every head, oldest first. */
  list(): JobName[] {
    return this.#db.all<JobName>("SELECT job_id AS jobId, head_id AS headId FROM jobs ORDER BY at_ms, id");
  }

  /** undefined for a job of which nothing came, or that was deleted. */
  state(name: JobName): JobState | undefined {
    const row = this.#find(name);
    if (row === undefined) return undefined;
    const { frameCount, frames, records, duplicated, contradictions, atMs } = row;
    return { frameCount, frames, records, duplicated, contradictions, atMs };
  }

  /** Sequences of the frames that did not come yet, ascending. @throws {PipelineError} FILE_MISSING for a job of which nothing is here */
  missing(name: JobName): number[] {
    const { id, frameCount } = this.#known(name);
    const rows = this.#db.all<{ sequence: number }>("SELECT sequence FROM frames WHERE job = ?", id);
    const here = new Set(rows.map(({ sequence }) => sequence));
    return Array.from({ length: frameCount }, (_, sequence) => sequence).filter((sequence) => !here.has(sequence));
  }

  /** Answers that came more than once and were dropped, in records. */
  duplicated(name: JobName): number {
    return this.state(name)?.duplicated ?? 0;
  }

  /** Whether every frame of the job is here; false for a job of which nothing is here. */
  isComplete(name: JobName): boolean {
    const state = this.state(name);
    return state !== undefined && state.frames === state.frameCount;
  }

  /** Records with their segments, by ascending index. @throws {PipelineError} FILE_MISSING for a job of which nothing is here */
  *assignments(name: JobName): Generator<SegmentedRecord> {
    const { id, lanes } = this.#known(name);
    for (const { sequence, segments } of this.#frames(id)) {
      for (let lane = 0; lane < lanes; lane++) {
        if (segments[lane] !== NONE) yield { index: sequence * lanes + lane, segment: segments[lane]! };
      }
    }
  }

  /** [K] Records per segment. @throws {PipelineError} FILE_MISSING for a job of which nothing is here */
  sizes(name: JobName): number[] {
    const sizes: number[] = Array(this.#known(name).segments).fill(0);
    for (const { segment } of this.assignments(name)) sizes[segment]!++;
    return sizes;
  }

  /**
   * SHA-256 over the job, its head and every assignment, in hexadecimal: what a release is asked for and given for.
   * @throws {PipelineError} FILE_MISSING for a job of which nothing is here
   */
  resultsHash(name: JobName): string {
    const { id, jobId, headId, frameCount, lanes, segments } = this.#known(name);
    const hash = createHash("sha256").update(`${JSON.stringify(["smile.segments.v1", jobId, headId, frameCount, lanes, segments])}\n`);
    for (const frame of this.#frames(id)) hash.update(`${frame.sequence}\n`).update(frame.segments);
    return hash.digest("hex");
  }

  /** Runs `work` in one durable transaction that nobody else writes in: what it reads stays so until what it writes is there. */
  exclusively<T>(work: () => T): T {
    return this.#db.transaction(work);
  }

  /**
   * Deletes all that is known of a job, by every head, and what was shown of it. What is kept is that it was deleted, and when, so that
   * later answers are dropped; and of its releases who was in which group, until `releases.forgetBefore`.
   */
  delete(jobId: string, nowMs: number): void {
    this.#db.transaction(() => {
      this.releases.forgetShown(jobId);
      this.#db.run("DELETE FROM frames WHERE job IN (SELECT id FROM jobs WHERE job_id = ?)", jobId);
      this.#db.run("DELETE FROM jobs WHERE job_id = ?", jobId);
      this.#db.run("INSERT OR IGNORE INTO deleted (job_id, at_ms) VALUES (?, ?)", jobId, nowMs);
    });
    this.overwrite();
  }

  /** Ends what was deleted for good: the pages of before are still in the write-ahead log until it is written back and cut. */
  overwrite(): void {
    this.#db.first("PRAGMA wal_checkpoint(TRUNCATE)");
  }

  isDeleted(jobId: string): boolean {
    return this.#db.first("SELECT 1 FROM deleted WHERE job_id = ?", jobId) !== undefined;
  }

  [Symbol.dispose](): void {
    this.#db[Symbol.dispose]();
  }

  /** Part of the caller's transaction. */
  #assign(read: ReadSegments, nowMs: number): Assigned {
    if (this.isDeleted(read.jobId)) return { stored: 0, duplicated: 0, contradictions: 0, deleted: true };
    const job = this.#jobOf(read, nowMs);
    let frames = 0;
    let stored = 0;
    let duplicated = 0;
    let contradictions = 0;
    for (const [sequence, records] of Map.groupBy(read.records, ({ index }) => Math.floor(index / job.lanes))) {
      const before = this.#frame(job.id, sequence);
      if (before === undefined) {
        const segments = frameOf(records, job.lanes);
        this.#db.run("INSERT INTO frames (job, sequence, segments) VALUES (?, ?, ?)", job.id, sequence, segments);
        frames++;
        stored += records.length;
        continue;
      }
      const same = records.filter(({ index, segment }) => before[index % job.lanes] === segment).length;
      duplicated += same;
      contradictions += records.length - same;
    }
    const count = `UPDATE jobs SET frames = frames + ?, records = records + ?, duplicated = duplicated + ?,
      contradictions = contradictions + ? WHERE id = ?`;
    this.#db.run(count, frames, stored, duplicated, contradictions, job.id);
    return { stored, duplicated, contradictions, deleted: false };
  }

  /** The job's row, made by its first score, which every later one must agree with. */
  #jobOf(read: ReadSegments, nowMs: number): JobRow {
    const insert = `INSERT OR IGNORE INTO jobs (job_id, head_id, gateway, epoch, frame_count, lanes, segments, at_ms)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?)`;
    this.#db.run(insert, read.jobId, read.headId, read.gateway, read.epoch, read.frameCount, read.lanes, read.segments, nowMs);
    const job = this.#find(read)!;
    for (const field of ["gateway", "epoch", "frameCount", "lanes", "segments"] as const) {
      if (job[field] !== read[field])
        throw new PipelineError("SCORE_MISMATCH", `${field} of the score is not that of its job's first score`, { field });
    }
    return job;
  }

  #find({ jobId, headId }: JobName): JobRow | undefined {
    return this.#db.first<JobRow>(
      `SELECT id, job_id AS jobId, head_id AS headId, gateway, epoch, frame_count AS frameCount, lanes, segments,
         frames, records, duplicated, contradictions, at_ms AS atMs FROM jobs WHERE job_id = ? AND head_id = ?`,
      jobId,
      headId,
    );
  }

  #known(name: JobName): JobRow {
    const row = this.#find(name);
    if (row !== undefined) return row;
    const what = this.isDeleted(name.jobId) ? "was deleted when its retention ended" : "is not in the job store";
    throw new PipelineError("FILE_MISSING", `job ${name.jobId} ${what}`, { jobId: name.jobId, headId: name.headId });
  }

  #frame(job: number, sequence: number): Uint8Array | undefined {
    return this.#db.first<{ segments: Uint8Array }>("SELECT segments FROM frames WHERE job = ? AND sequence = ?", job, sequence)?.segments;
  }

  #frames(job: number): Generator<{ sequence: number; segments: Uint8Array }> {
    return this.#db.each("SELECT sequence, segments FROM frames WHERE job = ? ORDER BY sequence", job);
  }
}

function frameOf(records: readonly SegmentedRecord[], lanes: number): Uint8Array {
  const segments = new Uint8Array(lanes).fill(NONE);
  for (const { index, segment } of records) segments[index % lanes] = segment;
  return segments;
}
