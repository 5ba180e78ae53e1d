import { PipelineError } from "@smile/errors/pipeline-error";
import type { RecordGaps } from "@smile/features/records/record-encoder";
import { SqliteFile } from "@smile/runtime/sqlite";
import { newEpoch } from "../store.ts";

/** `done`: every frame is acknowledged. `cancelled`: no more frames go, ever; those that went stay. */
export type JobState = "running" | "paused" | "cancelled" | "done";

/** What decides which records a frame of a job holds, and who says so. None of it may change under way. */
export type JobContent = {
  readonly plant: string;
  readonly gateway: string;
  /** SHA-256 of the file's bytes. */
  readonly fileHash: string;
  readonly featureSetId: string;
  readonly paramsId: string;
  /** Of the key that all its frames are encrypted under. */
  readonly keyId: string;
  /** How many records the file has; at least 1. */
  readonly records: number;
  /** L: records per frame. */
  readonly lanes: number;
};

export type Job = JobContent & {
  readonly jobId: string;
  /** Of every frame of the job: made once, so that frames keep their ids. */
  readonly epoch: number;
  /** When the job began, milliseconds since 1970: the time of all its frames. */
  readonly startedAtMs: number;
  /** ceil(records / L). */
  readonly frameCount: number;
  /** Frames acknowledged. */
  readonly acknowledged: number;
  /** Values in acknowledged frames that the file did not have, and that the feature set does not know; each counts as a typical one. */
  readonly missing: number;
  readonly unknown: number;
  readonly state: JobState;
};

/** Frames that need not be sent again: all below `position`, and those in `beyond`. */
export type Acknowledged = { readonly position: number; readonly beyond: ReadonlySet<number> };

const noGaps: RecordGaps = { missing: 0, unknown: 0 };
const tables = `
  CREATE TABLE jobs (
    job_id TEXT PRIMARY KEY, epoch INTEGER NOT NULL UNIQUE, started_ms INTEGER NOT NULL, plant TEXT NOT NULL, gateway TEXT NOT NULL,
    file_hash TEXT NOT NULL, feature_set_id TEXT NOT NULL, params_id TEXT NOT NULL, records INTEGER NOT NULL, lanes INTEGER NOT NULL,
    frame_count INTEGER NOT NULL, position INTEGER NOT NULL, state TEXT NOT NULL, key_id TEXT NOT NULL DEFAULT '',
    missing INTEGER NOT NULL DEFAULT 0, unknown INTEGER NOT NULL DEFAULT 0) STRICT;
  CREATE TABLE beyond (job_id TEXT NOT NULL, sequence INTEGER NOT NULL, PRIMARY KEY (job_id, sequence)) STRICT, WITHOUT ROWID;
`;
/** A job of version 1 does not say its key: it is begun anew. */
const upgrades = [
  `ALTER TABLE jobs ADD COLUMN key_id TEXT NOT NULL DEFAULT ''; ALTER TABLE jobs ADD COLUMN missing INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE jobs ADD COLUMN unknown INTEGER NOT NULL DEFAULT 0;`,
];
const selectJobs = `
  SELECT job_id AS jobId, epoch, started_ms AS startedAtMs, plant, gateway, file_hash AS fileHash, feature_set_id AS featureSetId,
    params_id AS paramsId, key_id AS keyId, records, lanes, frame_count AS frameCount, missing, unknown, state,
    position + (SELECT count(*) FROM beyond WHERE beyond.job_id = jobs.job_id) AS acknowledged
  FROM jobs`;

/**
 * The batch jobs of a gateway in one SQLite file that nobody else reads. Several processes may hold it: one runs a job while another
 * pauses it. Synchronous: a call that returned is on the disk. All throw PipelineError STORE_UNAVAILABLE or FILE_DAMAGED.
 */
export class JobStore implements Disposable {
  readonly #db: SqliteFile;
  readonly #now: () => number;

  /** @param path file, made when missing; its folder must exist @param now wall clock, milliseconds since 1970 */
  constructor(path: string, now: () => number = Date.now) {
    this.#now = now;
    this.#db = new SqliteFile({ path, role: "job store", unavailable: "STORE_UNAVAILABLE", tables, version: 2, upgrades, busyMs: 5000 });
  }

  [Symbol.dispose](): void {
    this.#db[Symbol.dispose]();
  }

  /**
   * Begins a job, as running.
   * @param jobId goes with every frame, so whoever runs the models sees it: it should say nothing
   * @throws {PipelineError} JOB_EXISTS for an id that a job has, whatever became of it; RECORDS_TOO_FEW for none
   */
  begin(jobId: string, content: JobContent): Job {
    const { plant, gateway, fileHash, featureSetId, paramsId, keyId, records, lanes } = content;
    if (!(records >= 1)) throw new PipelineError("RECORDS_TOO_FEW", `job ${jobId} has no records`, { jobId, records });
    return this.#db.transaction(() => {
      if (this.#find(jobId) !== undefined) throw new PipelineError("JOB_EXISTS", `there is a job ${jobId}`, { jobId });
      const startedAtMs = this.#now();
      let epoch = newEpoch(startedAtMs);
      while (this.#db.first("SELECT 1 FROM jobs WHERE epoch = ?", epoch) !== undefined) epoch = newEpoch(startedAtMs);
      this.#db.run(
        "INSERT INTO jobs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 'running', ?, 0, 0)",
        ...[jobId, epoch, startedAtMs, plant, gateway, fileHash, featureSetId, paramsId, records, lanes, Math.ceil(records / lanes)],
        keyId,
      );
      return this.job(jobId);
    });
  }

  /** All jobs, oldest first. */
  jobs(): Job[] {
    return this.#db.all<Job>(`${selectJobs} ORDER BY started_ms, job_id`);
  }

  /** @throws {PipelineError} JOB_UNKNOWN */
  job(jobId: string): Job {
    const job = this.#find(jobId);
    if (job === undefined) throw new PipelineError("JOB_UNKNOWN", `there is no job ${jobId}`, { jobId });
    return job;
  }

  /** @throws {PipelineError} JOB_UNKNOWN; JOB_CHANGED naming the field that is not as the job began */
  check(jobId: string, content: Partial<JobContent>): Job {
    const job = this.job(jobId);
    for (const field of Object.keys(content) as (keyof JobContent)[]) {
      if (job[field] !== content[field]) {
        throw new PipelineError("JOB_CHANGED", `job ${jobId} began with another ${field}`, { jobId, field });
      }
    }
    return job;
  }

  /**
   * Lets a paused job run again; a running one, as a crash leaves it, goes on running.
   * @param content what is known of it
   * @throws {PipelineError} JOB_UNKNOWN, JOB_CHANGED; JOB_ENDED for one that is done or cancelled
   */
  resume(jobId: string, content: Partial<JobContent>): Job {
    this.check(jobId, content);
    return this.#change(jobId, "running");
  }

  /** From the next frame on nothing is sent. @throws {PipelineError} JOB_UNKNOWN, JOB_ENDED */
  pause(jobId: string): Job {
    return this.#change(jobId, "paused");
  }

  /** @throws {PipelineError} JOB_UNKNOWN, JOB_ENDED */
  cancel(jobId: string): Job {
    return this.#change(jobId, "cancelled");
  }

  /** Ends a job as done if every frame of it is acknowledged and nobody cancelled it. */
  finish(jobId: string): Job {
    const sql = "UPDATE jobs SET state = 'done' WHERE job_id = ? AND position = frame_count AND state IN ('running', 'paused')";
    this.#db.run(sql, jobId);
    return this.job(jobId);
  }

  acknowledged(jobId: string): Acknowledged {
    return this.#db.transaction(() => {
      const position = this.#position(jobId);
      const rows = this.#db.all<{ sequence: number }>("SELECT sequence FROM beyond WHERE job_id = ?", jobId);
      return { position, beyond: new Set(rows.map(({ sequence }) => sequence)) };
    });
  }

  /**
   * Notes frames that the broker has, in any order; one that was noted before changes nothing.
   * @param gapsOf what the records of a frame left out
   */
  noteAcknowledged(jobId: string, sequences: readonly number[], gapsOf: (sequence: number) => RecordGaps = () => noGaps): void {
    this.#db.transaction(() => {
      const from = this.#position(jobId);
      let [missing, unknown] = [0, 0];
      for (const sequence of sequences) {
        if (sequence < from || this.#db.run("INSERT OR IGNORE INTO beyond VALUES (?, ?)", jobId, sequence).changes === 0) continue;
        const gaps = gapsOf(sequence);
        missing += gaps.missing;
        unknown += gaps.unknown;
      }
      if (missing + unknown > 0) {
        this.#db.run("UPDATE jobs SET missing = missing + ?, unknown = unknown + ? WHERE job_id = ?", missing, unknown, jobId);
      }
      let position = from;
      while (this.#db.run("DELETE FROM beyond WHERE job_id = ? AND sequence = ?", jobId, position).changes === 1) position++;
      if (position > from) this.#db.run("UPDATE jobs SET position = ? WHERE job_id = ?", position, jobId);
    });
  }

  #change(jobId: string, state: JobState): Job {
    return this.#db.transaction(() => {
      const before = this.job(jobId);
      if (before.state === "done" || before.state === "cancelled") {
        throw new PipelineError("JOB_ENDED", `job ${jobId} is ${before.state}`, { jobId, state: before.state });
      }
      this.#db.run("UPDATE jobs SET state = ? WHERE job_id = ?", state, jobId);
      return { ...before, state };
    });
  }

  #find(jobId: string): Job | undefined {
    return this.#db.first<Job>(`${selectJobs} WHERE job_id = ?`, jobId);
  }

  #position(jobId: string): number {
    return this.#db.first<{ position: number }>("SELECT position FROM jobs WHERE job_id = ?", jobId)!.position;
  }
}
