import { randomInt } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { LiftedWindow } from "@smile/features/spec";
import { SqliteFile } from "@smile/runtime/sqlite";

/** A frame's envelope under its sequence number. */
export type SpooledFrame = { readonly sequence: number; readonly envelope: Uint8Array };

/** Where a machine's lift stands. */
export type MachineState = {
  readonly machine: string;
  /** JSON text of the lift's snapshot. */
  readonly snapshot: string;
  /** Newest row that the snapshot covers, event time in milliseconds. */
  readonly lastRowMs: number;
  /** Newest window end that the machine has arrived at; null before its first. */
  readonly arrivedMs: number | null;
};

/** What changed since the last commit; all of it becomes durable, or nothing. */
export type Commit = {
  readonly frames: readonly SpooledFrame[];
  readonly states: readonly MachineState[];
  /** Windows lifted and not sealed. */
  readonly opened: readonly LiftedWindow[];
  /** Windows of earlier commits that are sealed in `frames` now. */
  readonly closed: readonly Pick<LiftedWindow, "machine" | "endMs">[];
};

export type StoreOwner = { readonly plant: string; readonly gateway: string; readonly featureSetId: string };

/** How much waits for its acknowledgement. */
export type SpoolDepth = { readonly frames: number; readonly bytes: number };

const tables = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE spool (sequence INTEGER PRIMARY KEY, envelope BLOB NOT NULL) STRICT;
  CREATE TABLE quarantine (sequence INTEGER PRIMARY KEY, reason TEXT NOT NULL, envelope BLOB NOT NULL) STRICT;
  CREATE TABLE state (machine TEXT PRIMARY KEY, snapshot TEXT NOT NULL, last_row_ms REAL NOT NULL, arrived_ms REAL) STRICT;
  CREATE TABLE open_windows (
    machine TEXT NOT NULL, end_ms INTEGER NOT NULL, features BLOB NOT NULL, clipped INTEGER NOT NULL,
    PRIMARY KEY (machine, end_ms)) STRICT;
`;
/** Epochs count seconds from here, so that 32 bits last until 2156. */
const epochOrigin = Date.UTC(2020, 0, 1);

/**
 * An id for a store's life: 32 bits of seconds since 2020, then 16 random bits. A gateway whose store was lost gets another, so no
 * message id is ever used for other content.
 */
export function newEpoch(nowMs: number): number {
  const seconds = Math.min(Math.max(Math.floor((nowMs - epochOrigin) / 1000), 0), 2 ** 32 - 1);
  return seconds * 2 ** 16 + randomInt(2 ** 16);
}

/**
 * What one agent must not forget, in one SQLite file: the frames that wait for their acknowledgement, the lift of every machine, and
 * the windows that wait for their frame. Held exclusively: a second agent on the same file is refused. Synchronous: a call that
 * returned is on the disk; all throw PipelineError STORE_UNAVAILABLE or FILE_DAMAGED.
 */
export class EdgeStore implements Disposable {
  readonly #db: SqliteFile;
  #nextSequence: number;
  #depth: SpoolDepth;
  /** First half of every message id of this store, below 2^48. */
  readonly epoch: number;

  /**
   * @param path file, made when missing; its folder must exist
   * @param owner a store belongs to one gateway for good; open windows of another feature set are refused
   * @throws {PipelineError} STORE_UNAVAILABLE, also while another agent holds the file; FILE_DAMAGED; CONFIG_INVALID naming the owner
   */
  constructor(path: string, owner: StoreOwner, nowMs: number = Date.now()) {
    this.#db = new SqliteFile({
      path,
      role: "store",
      unavailable: "STORE_UNAVAILABLE",
      tables,
      version: 1,
      busyMs: 1000,
      pragmas: "PRAGMA locking_mode = EXCLUSIVE;",
    });
    try {
      this.epoch = this.#db.transaction(() => this.#claim(path, owner, nowMs));
      this.#nextSequence = this.#meta<number>("nextSequence");
      this.#depth = this.#readDepth();
    } catch (error) {
      this.#db[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#db[Symbol.dispose]();
  }

  /** The sequence number of the next frame that is committed. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  get depth(): SpoolDepth {
    return this.#depth;
  }

  /**
   * Makes one step of the agent durable.
   * @param commit its frames are numbered from `nextSequence` on without gaps
   * @throws {PipelineError} STORE_UNAVAILABLE with nothing changed: the same commit may be tried again
   */
  commit({ frames, states, opened, closed }: Commit): void {
    frames.forEach(({ sequence }, i) => {
      if (sequence !== this.#nextSequence + i) throw new RangeError(`frame ${sequence} does not follow ${this.#nextSequence + i - 1}`);
    });
    this.#db.transaction(() => {
      for (const { sequence, envelope } of frames) this.#db.run("INSERT INTO spool VALUES (?, ?)", sequence, envelope);
      if (frames.length > 0) this.#db.run("UPDATE meta SET value = ? WHERE name = 'nextSequence'", this.#nextSequence + frames.length);
      for (const { machine, snapshot, lastRowMs, arrivedMs } of states) {
        this.#db.run("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)", machine, snapshot, lastRowMs, arrivedMs);
      }
      for (const { machine, endMs } of closed) this.#db.run("DELETE FROM open_windows WHERE machine = ? AND end_ms = ?", machine, endMs);
      for (const { machine, endMs, features, clipped } of opened) {
        const bytes = new Uint8Array(features.buffer, features.byteOffset, features.byteLength);
        this.#db.run("INSERT INTO open_windows VALUES (?, ?, ?, ?)", machine, endMs, bytes, clipped);
      }
    });
    this.#nextSequence += frames.length;
    const bytes = frames.reduce((sum, { envelope }) => sum + envelope.length, this.#depth.bytes);
    this.#depth = { frames: this.#depth.frames + frames.length, bytes };
  }

  /** Frames after a sequence number, oldest first. */
  spooled(after: number, limit: number): SpooledFrame[] {
    return this.#db.all<SpooledFrame>("SELECT sequence, envelope FROM spool WHERE sequence > ? ORDER BY sequence LIMIT ?", after, limit);
  }

  /** Forgets frames that were acknowledged. */
  remove(sequences: readonly number[]): void {
    let frames = 0;
    let bytes = 0;
    this.#db.transaction(() => {
      for (const sequence of sequences) {
        const removed = this.#db.first<{ size: number }>(
          "DELETE FROM spool WHERE sequence = ? RETURNING length(envelope) AS size",
          sequence,
        );
        if (removed === undefined) continue;
        frames++;
        bytes += removed.size;
      }
    });
    this.#depth = { frames: this.#depth.frames - frames, bytes: this.#depth.bytes - bytes };
  }

  /** Takes a frame out of the way of the others without losing it. */
  quarantine({ sequence, envelope }: SpooledFrame, reason: string): void {
    this.#db.transaction(() => {
      this.#db.run("INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?)", sequence, reason, envelope);
      this.#db.run("DELETE FROM spool WHERE sequence = ?", sequence);
    });
    this.#depth = { frames: this.#depth.frames - 1, bytes: this.#depth.bytes - envelope.length };
  }

  /** Frames in quarantine. */
  get quarantined(): number {
    return this.#db.first<{ frames: number }>("SELECT count(*) AS frames FROM quarantine")!.frames;
  }

  /** Puts frames from quarantine back into the spool, where there is another chance for them. @returns how many */
  releaseQuarantine(largestBytes: number): number {
    const { changes } = this.#db.transaction(() => {
      this.#db.run("INSERT OR IGNORE INTO spool SELECT sequence, envelope FROM quarantine WHERE length(envelope) <= ?", largestBytes);
      return this.#db.run("DELETE FROM quarantine WHERE length(envelope) <= ?", largestBytes);
    });
    this.#depth = this.#readDepth();
    return changes;
  }

  states(): MachineState[] {
    const sql = "SELECT machine, snapshot, last_row_ms AS lastRowMs, arrived_ms AS arrivedMs FROM state";
    return this.#db.all<MachineState>(sql);
  }

  /** Windows that were lifted and wait for their frame, oldest first. */
  openWindows(): LiftedWindow[] {
    const sql = "SELECT machine, end_ms AS endMs, features, clipped FROM open_windows ORDER BY end_ms, machine";
    return this.#db.all<{ machine: string; endMs: number; features: Uint8Array; clipped: number }>(sql).map((row) => ({
      ...row,
      features: new Int32Array(row.features.slice().buffer), // the copy aligns them
    }));
  }

  #claim(path: string, { plant, gateway, featureSetId }: StoreOwner, nowMs: number): number {
    const owner = `${plant}/${gateway}`;
    const insert = "INSERT OR IGNORE INTO meta VALUES (?, ?)";
    this.#db.run(insert, "owner", owner);
    this.#db.run(insert, "epoch", newEpoch(nowMs));
    this.#db.run(insert, "nextSequence", 0);
    this.#db.run(insert, "featureSetId", featureSetId);
    const found = this.#meta<string>("owner");
    if (found !== owner) {
      throw new PipelineError("CONFIG_INVALID", `store ${path} belongs to ${found}, not to ${owner}`, {
        path: path,
        owner: found,
      });
    }
    if (this.#meta<string>("featureSetId") !== featureSetId) {
      const { windows } = this.#db.first<{ windows: number }>("SELECT count(*) AS windows FROM open_windows")!;
      if (windows > 0) {
        const what = `store ${path} has open windows of another feature set; run the agent once with the old deployment and --drain`;
        throw new PipelineError("CONFIG_INVALID", what, { path: path, windows });
      }
      this.#db.run("UPDATE meta SET value = ? WHERE name = 'featureSetId'", featureSetId);
    }
    return this.#meta<number>("epoch");
  }

  #meta<T>(name: string): T {
    return this.#db.first<{ value: T }>("SELECT value FROM meta WHERE name = ?", name)!.value;
  }

  #readDepth(): SpoolDepth {
    return this.#db.first<SpoolDepth>("SELECT count(*) AS frames, coalesce(sum(length(envelope)), 0) AS bytes FROM spool")!;
  }
}
