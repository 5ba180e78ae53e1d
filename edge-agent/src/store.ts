import { randomInt } from "node:crypto";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import type { LiftedWindow } from "@smile/features/spec";
import { SqliteFile } from "@smile/runtime/sqlite";
import { Ballast } from "./ballast.ts";
import { type LoggedRow, packRows, unpackRows } from "./row-log.ts";
import {
  type Dropped,
  type Outgoing,
  type SealedFrame,
  Spool,
  type SpoolBounds,
  type SpoolDepth,
  type SpoolItem,
  type SpoolRange,
  spoolTables,
} from "./spool.ts";

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
  readonly frames: readonly SealedFrame[];
  readonly states: readonly MachineState[];
  /** Windows lifted and not sealed. */
  readonly opened: readonly LiftedWindow[];
  /** Windows of earlier commits that are sealed in `frames` now. */
  readonly closed: readonly Pick<LiftedWindow, "machine" | "endMs">[];
  /** Rows since the last commit that no state in `states` covers, in their order. Default: none. */
  readonly rows?: readonly LoggedRow[];
  /** The first commit whose rows are needed still: states cover those before it. Default: all are needed. */
  readonly rowsFrom?: number;
};

export type StoreOwner = { readonly plant: string; readonly gateway: string; readonly featureSetId: string };

/** Rows by commit. `covers` of a state: the last commit whose rows are in it. */
const rowTables = "CREATE TABLE row_log (commit_id INTEGER PRIMARY KEY, rows BLOB NOT NULL) STRICT;";
const tables = `
  CREATE TABLE meta (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE state (machine TEXT PRIMARY KEY, snapshot TEXT NOT NULL, last_row_ms REAL NOT NULL, arrived_ms REAL,
    covers INTEGER NOT NULL DEFAULT 0) STRICT;
  ${rowTables}
  CREATE TABLE open_windows (
    machine TEXT NOT NULL, end_ms INTEGER NOT NULL, features BLOB NOT NULL, clipped INTEGER NOT NULL,
    PRIMARY KEY (machine, end_ms)) STRICT;
  ${spoolTables}
`;
/** Frames of version 1 count as no windows in a gap: it did not keep how many they have. */
const upgrades = [
  `ALTER TABLE spool RENAME TO spool_v1; ${spoolTables} INSERT INTO spool (sequence, envelope) SELECT sequence, envelope FROM spool_v1;
   INSERT INTO spool (sequence, envelope, refused) SELECT sequence, envelope, reason FROM quarantine;
   DROP TABLE spool_v1; DROP TABLE quarantine;`,
  `ALTER TABLE state ADD COLUMN covers INTEGER NOT NULL DEFAULT 0; ${rowTables}`,
];
/**
 * Sequence numbers are reserved this many at a time, and the reservation is in the main file before any of them is used. So after a
 * crash the agent goes on behind the reservation: should the disk have lost the end of its journal, what was sent from there keeps its
 * numbers for itself.
 */
const reservation = 1 << 16;
/** SQLITE_FULL */
const diskFull = 13;
/** After a full disk, how often it is looked at for room. */
const fullForMs = 60_000;
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

/** By default 256 MiB and a week. */
export const defaultBounds: SpoolBounds = { maxBytes: 256 * 1024 * 1024, maxAgeMs: 7 * 24 * 60 * 60 * 1000 };

export type StoreOptions = {
  readonly bounds?: SpoolBounds;
  /** Wall clock, for the epoch. Default Date.now. */
  readonly now?: () => number;
  /** Clock that frames age by, while the agent runs. Default performance.now. */
  readonly monotonicMs?: () => number;
  /** Largest file, in pages of 4,096 bytes, as if the disk ended there. Default: whatever the disk holds. */
  readonly maxPages?: number;
};

/**
 * What one agent must not forget, in one SQLite file: the frames that wait for their acknowledgement and the gaps between them, the lift
 * of every machine as a state and the rows that came after it, and the windows that wait for their frame. Held exclusively: a second agent on the same file is refused.
 * Synchronous: a call that returned is on the disk; all throw PipelineError STORE_UNAVAILABLE or FILE_DAMAGED.
 */
export class EdgeStore implements Disposable {
  readonly #db: SqliteFile;
  readonly #spool: Spool;
  readonly #ballast: Ballast;
  /** Since when the disk is taken for full; null while it is not. */
  #fullSinceMs: number | null = null;
  readonly #monotonicMs: () => number;
  readonly #openedMs: number;
  /** How long agents ran on this store before. */
  readonly #ranMs: number;
  #nextSequence: number;
  /** Sequences below it may be used. */
  #reserved: number;
  #nextCommit: number;
  /** First half of every message id of this store, below 2^48. */
  readonly epoch: number;

  /**
   * @param path file, made when missing; its folder must exist
   * @param owner a store belongs to one gateway for good; open windows of another feature set are refused
   * @throws {PipelineError} STORE_UNAVAILABLE, also while another agent holds the file; FILE_DAMAGED; CONFIG_INVALID naming the owner
   */
  constructor(path: string, owner: StoreOwner, options: StoreOptions = {}) {
    const { bounds = defaultBounds, now = Date.now, monotonicMs = () => performance.now(), maxPages } = options;
    this.#monotonicMs = monotonicMs;
    this.#openedMs = monotonicMs();
    this.#ballast = new Ballast(path);
    this.#ballast.release();
    const limit = maxPages === undefined ? "" : `PRAGMA max_page_count = ${maxPages};`;
    this.#db = new SqliteFile({
      path,
      role: "store",
      unavailable: "STORE_UNAVAILABLE",
      tables,
      version: 3,
      upgrades,
      busyMs: 1000,
      pragmas: `PRAGMA locking_mode = EXCLUSIVE; ${limit}`,
    });
    try {
      this.#checkPages(path);
      this.epoch = this.#db.transaction(() => this.#claim(path, owner, now()));
      this.#ranMs = this.#meta<number>("ranMs");
      this.#nextSequence = this.#meta<number>("nextSequence");
      this.#reserved = this.#nextSequence;
      this.#nextCommit = this.#lastCommit() + 1;
      this.#reserve(1);
      this.#spool = new Spool(this.#db, { plant: owner.plant, gateway: owner.gateway, epoch: this.epoch }, bounds);
      this.#ballast.take();
    } catch (error) {
      this.#db[Symbol.dispose]();
      throw error;
    }
  }

  /** An orderly end gives the sequence numbers back that were reserved and not used. */
  [Symbol.dispose](): void {
    this.#ballast.release();
    try {
      this.#db.transaction(() => {
        this.#setMeta("reserved", this.#nextSequence);
        this.#setMeta("ranMs", this.#nowMs());
      });
    } catch {
      // Then it ends as after a crash.
    }
    this.#db[Symbol.dispose]();
  }

  /** The sequence number of the next frame that is committed. */
  get nextSequence(): number {
    return this.#nextSequence;
  }

  /** By which the rows of the next commit are known. */
  get nextCommit(): number {
    return this.#nextCommit;
  }

  get depth(): SpoolDepth {
    return this.#spool.depth;
  }

  /** Gaps whose acknowledgement is still to come. */
  get gaps(): number {
    return this.#spool.gaps;
  }

  /** Frames and gaps that are not taken for sending. */
  get unsent(): number {
    return this.#spool.unsent;
  }

  /** Acknowledged, and not yet off the disk. */
  get acknowledged(): number {
    return this.#spool.acknowledged;
  }

  /** Frames in quarantine. */
  get quarantined(): number {
    return this.#spool.quarantined;
  }

  /**
   * Makes one step of the agent durable, and keeps the spool's bounds: where there is no room, or the disk is full, the oldest frames
   * go in the same transaction and leave a gap.
   * @param commit its frames are numbered from `nextSequence` on without gaps
   * @returns what had to go
   * @throws {PipelineError} STORE_UNAVAILABLE with nothing changed, also when the disk is full and nothing more may go: the same commit
   *   may be tried again
   */
  commit(commit: Commit): Dropped {
    const { frames } = commit;
    frames.forEach(({ sequence }, i) => {
      if (sequence !== this.#nextSequence + i) throw new RangeError(`frame ${sequence} does not follow ${this.#nextSequence + i - 1}`);
    });
    this.#growAgain();
    if (this.#nextSequence + frames.length > this.#reserved) this.#reserve(frames.length);
    for (let segments = 0; ; segments = Math.max(1, 2 * segments)) {
      try {
        const dropped = this.#transaction(() => this.#write(commit, segments));
        this.#nextSequence += frames.length;
        this.#nextCommit++;
        return dropped;
      } catch (error) {
        if (!isDiskFull(error) || segments > this.depth.frames) throw error;
        this.#makeRoom();
      }
    }
  }

  /** The first frame or gap of a range that was not taken yet. */
  peek(range: SpoolRange): SpoolItem | undefined {
    return this.#spool.peek(range);
  }

  /** Takes an item for sending, once. It is neither dropped nor changed from here on. */
  take(item: SpoolItem): Outgoing {
    return this.#spool.take(item);
  }

  /** Notes that the broker has an item; the next transaction takes it off the disk, whatever that transaction is for. */
  acknowledge(sequence: number): void {
    this.#spool.acknowledge(sequence);
  }

  /** Takes what was acknowledged off the disk. */
  removeAcknowledged(): void {
    const remove = () => this.#transaction(() => this.#spool.removeAcknowledged());
    try {
      remove();
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      this.#makeRoom();
      remove();
    }
  }

  /** Takes a frame that was taken for sending out of the way of the others without losing it. */
  quarantine(sequence: number, reason: string): void {
    this.#transaction(() => this.#spool.quarantine(sequence, reason));
  }

  /** Puts frames from quarantine back into the spool, where there is another chance for them. @returns how many */
  releaseQuarantine(largestBytes: number): number {
    return this.#transaction(() => this.#spool.release(largestBytes));
  }

  states(): MachineState[] {
    const sql = "SELECT machine, snapshot, last_row_ms AS lastRowMs, arrived_ms AS arrivedMs FROM state";
    return this.#db.all<MachineState>(sql);
  }

  /** Rows that came after the stored state of their machine, in their order, with their commit. Rows of machines without one are left out. */
  *rowsSinceStates(): Generator<{ readonly commit: number; readonly row: LoggedRow }> {
    const covers = this.#db.all<{ machine: string; covers: number }>("SELECT machine, covers FROM state");
    const coverOf = new Map(covers.map((each) => [each.machine, each.covers]));
    const log = this.#db.each<{ commit: number; rows: Uint8Array }>("SELECT commit_id AS 'commit', rows FROM row_log ORDER BY commit_id");
    for (const { commit, rows } of log)
      for (const row of unpackRows(rows)) if (commit > (coverOf.get(row.machine) ?? Number.POSITIVE_INFINITY)) yield { commit, row };
  }

  /** Windows that were lifted and wait for their frame, oldest first. */
  openWindows(): LiftedWindow[] {
    const sql = "SELECT machine, end_ms AS endMs, features, clipped FROM open_windows ORDER BY end_ms, machine";
    return this.#db.all<{ machine: string; endMs: number; features: Uint8Array; clipped: number }>(sql).map((row) => ({
      ...row,
      features: new Int32Array(row.features.slice().buffer), // the copy aligns them
    }));
  }

  #write({ frames, states, opened, closed, rows = [], rowsFrom }: Commit, segments: number): Dropped {
    const dropped = this.#spool.append(frames, this.#nowMs(), segments);
    this.#setMeta("nextSequence", this.#nextSequence + frames.length);
    this.#setMeta("ranMs", this.#nowMs());
    const put = `INSERT INTO state (machine, snapshot, last_row_ms, arrived_ms, covers) VALUES (?, ?, ?, ?, ?) ON CONFLICT (machine) DO UPDATE
      SET snapshot = excluded.snapshot, last_row_ms = excluded.last_row_ms, arrived_ms = excluded.arrived_ms, covers = excluded.covers`;
    for (const { machine, snapshot, lastRowMs, arrivedMs } of states)
      this.#db.run(put, machine, snapshot, lastRowMs, arrivedMs, this.#nextCommit);
    if (rows.length > 0) this.#db.run("INSERT INTO row_log (commit_id, rows) VALUES (?, ?)", this.#nextCommit, packRows(rows));
    if (rowsFrom !== undefined) this.#db.run("DELETE FROM row_log WHERE commit_id < ?", rowsFrom);
    for (const { machine, endMs } of closed) this.#db.run("DELETE FROM open_windows WHERE machine = ? AND end_ms = ?", machine, endMs);
    for (const { machine, endMs, features, clipped } of opened) {
      const bytes = new Uint8Array(features.buffer, features.byteOffset, features.byteLength);
      this.#db.run("INSERT INTO open_windows VALUES (?, ?, ?, ?)", machine, endMs, bytes, clipped);
    }
    return dropped;
  }

  #transaction<T>(work: () => T): T {
    try {
      const result = this.#db.transaction(work);
      this.#spool.settled();
      return result;
    } catch (error) {
      this.#spool.undone();
      throw error;
    }
  }

  /**
   * The disk is full: gives the ballast up, has the journal's own room used again, and lets the spool grow no more until there is room
   * for the ballast again. On a disk without any room that may fail as well; then dropping has to do.
   */
  #makeRoom(): void {
    this.#ballast.release();
    this.#fullSinceMs = this.#nowMs();
    this.#spool.growNoMore();
    try {
      this.#db.first("PRAGMA wal_checkpoint(RESTART)");
    } catch (error) {
      if (!isDiskFull(error)) throw error;
    }
  }

  #growAgain(): void {
    if (this.#fullSinceMs === null || this.#nowMs() - this.#fullSinceMs < fullForMs) return;
    this.#fullSinceMs = this.#nowMs();
    if (!this.#ballast.take()) return;
    this.#fullSinceMs = null;
    this.#spool.growAgain();
  }

  /** The clock that frames age by: how long agents ran on this store. */
  #nowMs(): number {
    return this.#ranMs + this.#monotonicMs() - this.#openedMs;
  }

  /** Sees to it that the next so many sequences may be used, whatever the disk does to the journal. */
  #reserve(frames: number): void {
    const reserved = this.#nextSequence + frames + reservation;
    this.#db.transaction(() => this.#setMeta("reserved", reserved));
    this.#db.first("PRAGMA wal_checkpoint(TRUNCATE)");
    this.#reserved = reserved;
  }

  #lastCommit(): number {
    const sql = "SELECT max((SELECT coalesce(max(commit_id), 0) FROM row_log), (SELECT coalesce(max(covers), 0) FROM state)) AS last";
    return this.#db.first<{ last: number }>(sql)!.last;
  }

  #checkPages(path: string): void {
    const { quick_check: found } = this.#db.first<{ quick_check: string }>("PRAGMA quick_check(1)")!;
    if (found !== "ok") throw new PipelineError("FILE_DAMAGED", `store ${path}: ${found}`, { path });
  }

  #claim(path: string, { plant, gateway, featureSetId }: StoreOwner, nowMs: number): number {
    const owner = `${plant}/${gateway}`;
    const insert = "INSERT OR IGNORE INTO meta VALUES (?, ?)";
    this.#db.run(insert, "owner", owner);
    this.#db.run(insert, "epoch", newEpoch(nowMs));
    this.#db.run(insert, "nextSequence", 0);
    this.#db.run(insert, "reserved", 0);
    this.#db.run(insert, "ranMs", 0);
    // Beyond what was used only when the last agent did not end in order.
    this.#setMeta("nextSequence", Math.max(this.#meta<number>("nextSequence"), this.#meta<number>("reserved")));
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

  #setMeta(name: string, value: number): void {
    this.#db.run("UPDATE meta SET value = ? WHERE name = ?", value, name);
  }
}

function isDiskFull(error: unknown): boolean {
  return isPipelineError(error) && (Number(error.facts.sqlite) & 0xff) === diskFull;
}
