import { randomInt } from "node:crypto";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { LiftedWindow } from "@smile/features/spec";

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
  CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS spool (sequence INTEGER PRIMARY KEY, envelope BLOB NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS quarantine (sequence INTEGER PRIMARY KEY, reason TEXT NOT NULL, envelope BLOB NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS state (machine TEXT PRIMARY KEY, snapshot TEXT NOT NULL, last_row_ms REAL NOT NULL, arrived_ms REAL) STRICT;
  CREATE TABLE IF NOT EXISTS open_windows (
    machine TEXT NOT NULL, end_ms INTEGER NOT NULL, features BLOB NOT NULL, clipped INTEGER NOT NULL,
    PRIMARY KEY (machine, end_ms)) STRICT;
`;
const schemaVersion = 1;
/** SQLite result codes: not a database, malformed. */
const damageCodes = new Set([11, 26]);
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
 * What one agent must not forget, in one SQLite database (WAL, synchronous = FULL): the frames that wait for their
 * acknowledgement, the lift of every machine, and the windows that wait for their frame. Held exclusively: a second agent on the same
 * file is refused. Synchronous: a call that returned is on the disk.
 */
export class EdgeStore implements Disposable {
  readonly #path: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
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
    this.#path = path;
    let db: DatabaseSync | undefined;
    try {
      db = new DatabaseSync(path, { timeout: 1000 });
      this.#db = db;
      db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;");
      this.epoch = this.#transaction(() => this.#prepare(owner, nowMs));
      const { last } = this.#one<{ last: number }>("SELECT value AS last FROM meta WHERE name = 'nextSequence'");
      this.#nextSequence = last;
      this.#depth = this.#one<SpoolDepth>("SELECT count(*) AS frames, coalesce(sum(length(envelope)), 0) AS bytes FROM spool");
    } catch (error) {
      if (db?.isOpen) db.close();
      throw this.#named(error);
    }
  }

  [Symbol.dispose](): void {
    if (this.#db.isOpen) this.#db.close();
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
    this.#write(() => {
      for (const { sequence, envelope } of frames) this.#run("INSERT INTO spool VALUES (?, ?)", sequence, envelope);
      if (frames.length > 0) this.#run("UPDATE meta SET value = ? WHERE name = 'nextSequence'", this.#nextSequence + frames.length);
      for (const { machine, snapshot, lastRowMs, arrivedMs } of states) {
        this.#run("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)", machine, snapshot, lastRowMs, arrivedMs);
      }
      for (const { machine, endMs } of closed) this.#run("DELETE FROM open_windows WHERE machine = ? AND end_ms = ?", machine, endMs);
      for (const { machine, endMs, features, clipped } of opened) {
        const bytes = new Uint8Array(features.buffer, features.byteOffset, features.byteLength);
        this.#run("INSERT INTO open_windows VALUES (?, ?, ?, ?)", machine, endMs, bytes, clipped);
      }
    });
    this.#nextSequence += frames.length;
    const bytes = frames.reduce((sum, { envelope }) => sum + envelope.length, this.#depth.bytes);
    this.#depth = { frames: this.#depth.frames + frames.length, bytes };
  }

  /** Frames after a sequence number, oldest first. */
  spooled(after: number, limit: number): SpooledFrame[] {
    return this.#all<SpooledFrame>("SELECT sequence, envelope FROM spool WHERE sequence > ? ORDER BY sequence LIMIT ?", after, limit);
  }

  /** Forgets frames that were acknowledged. */
  remove(sequences: readonly number[]): void {
    let frames = 0;
    let bytes = 0;
    this.#write(() => {
      for (const sequence of sequences) {
        const removed = this.#all<{ size: number }>("DELETE FROM spool WHERE sequence = ? RETURNING length(envelope) AS size", sequence)[0];
        if (removed === undefined) continue;
        frames++;
        bytes += removed.size;
      }
    });
    this.#depth = { frames: this.#depth.frames - frames, bytes: this.#depth.bytes - bytes };
  }

  /** Takes a frame out of the way of the others without losing it. */
  quarantine({ sequence, envelope }: SpooledFrame, reason: string): void {
    this.#write(() => {
      this.#run("INSERT OR REPLACE INTO quarantine VALUES (?, ?, ?)", sequence, reason, envelope);
      this.#run("DELETE FROM spool WHERE sequence = ?", sequence);
    });
    this.#depth = { frames: this.#depth.frames - 1, bytes: this.#depth.bytes - envelope.length };
  }

  /** Frames in quarantine. */
  get quarantined(): number {
    return this.#one<{ frames: number }>("SELECT count(*) AS frames FROM quarantine").frames;
  }

  /** Puts frames from quarantine back into the spool, where there is another chance for them. @returns how many */
  releaseQuarantine(largestBytes: number): number {
    return this.#write(() => {
      this.#run("INSERT OR IGNORE INTO spool SELECT sequence, envelope FROM quarantine WHERE length(envelope) <= ?", largestBytes);
      const released = this.#run("DELETE FROM quarantine WHERE length(envelope) <= ?", largestBytes);
      this.#depth = this.#one<SpoolDepth>("SELECT count(*) AS frames, coalesce(sum(length(envelope)), 0) AS bytes FROM spool");
      return released;
    });
  }

  states(): MachineState[] {
    const sql = "SELECT machine, snapshot, last_row_ms AS lastRowMs, arrived_ms AS arrivedMs FROM state";
    return this.#all<MachineState>(sql);
  }

  /** Windows that were lifted and wait for their frame, oldest first. */
  openWindows(): LiftedWindow[] {
    const sql = "SELECT machine, end_ms AS endMs, features, clipped FROM open_windows ORDER BY end_ms, machine";
    return this.#all<{ machine: string; endMs: number; features: Uint8Array; clipped: number }>(sql).map((row) => ({
      ...row,
      features: new Int32Array(row.features.slice().buffer), // the copy aligns them
    }));
  }

  #prepare({ plant, gateway, featureSetId }: StoreOwner, nowMs: number): number {
    const { user_version } = this.#one<{ user_version: number }>("PRAGMA user_version");
    if (user_version > schemaVersion) {
      throw new PipelineError("FILE_DAMAGED", `store ${this.#path} was written by a newer version (${user_version})`, { path: this.#path });
    }
    this.#db.exec(tables);
    this.#db.exec(`PRAGMA user_version = ${schemaVersion}`);
    const owner = `${plant}/${gateway}`;
    const insert = "INSERT OR IGNORE INTO meta VALUES (?, ?)";
    this.#run(insert, "owner", owner);
    this.#run(insert, "epoch", newEpoch(nowMs));
    this.#run(insert, "nextSequence", 0);
    this.#run(insert, "featureSetId", featureSetId);
    const found = this.#meta<string>("owner");
    if (found !== owner) {
      throw new PipelineError("CONFIG_INVALID", `store ${this.#path} belongs to ${found}, not to ${owner}`, {
        path: this.#path,
        owner: found,
      });
    }
    if (this.#meta<string>("featureSetId") !== featureSetId) {
      const { windows } = this.#one<{ windows: number }>("SELECT count(*) AS windows FROM open_windows");
      if (windows > 0) {
        const what = `store ${this.#path} has open windows of another feature set; run the agent once with the old deployment and --drain`;
        throw new PipelineError("CONFIG_INVALID", what, { path: this.#path, windows });
      }
      this.#run("UPDATE meta SET value = ? WHERE name = 'featureSetId'", featureSetId);
    }
    return this.#meta<number>("epoch");
  }

  #meta<T>(name: string): T {
    return this.#all<{ value: T }>("SELECT value FROM meta WHERE name = ?", name)[0]!.value;
  }

  #write<T>(work: () => T): T {
    try {
      return this.#transaction(work);
    } catch (error) {
      throw this.#named(error);
    }
  }

  #transaction<T>(work: () => T): T {
    this.#db.exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#db.exec("COMMIT");
      return result;
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw error;
    }
  }

  #named(error: unknown): PipelineError {
    if (error instanceof PipelineError) return error;
    const sqlite = (error as { errcode?: number }).errcode ?? 0;
    const code = damageCodes.has(sqlite & 0xff) ? "FILE_DAMAGED" : "STORE_UNAVAILABLE";
    return new PipelineError(code, `store ${this.#path}: ${(error as Error).message}`, { path: this.#path, sqlite }, error);
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #run(sql: string, ...values: (string | number | null | Uint8Array)[]): number {
    return Number(this.#prepared(sql).run(...values).changes);
  }

  #all<Row>(sql: string, ...values: (string | number)[]): Row[] {
    return this.#prepared(sql).all(...values) as Row[];
  }

  #one<Row>(sql: string): Row {
    return this.#prepared(sql).get() as Row;
  }
}
