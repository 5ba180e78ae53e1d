import type { SqliteFile } from "@smile/runtime/sqlite";
import type { Gap } from "@smile/schemas/envelopes";

/** A frame's envelope under its sequence number. */
export type SpooledFrame = { readonly sequence: number; readonly envelope: Uint8Array };

/** A frame on its way into the spool, with what a gap would have to say of it. */
export type SealedFrame = SpooledFrame & {
  readonly windows: number;
  /** End of its windows, event time in milliseconds. */
  readonly frameTimeMs: number;
};

/** How much waits for its acknowledgement. */
export type SpoolDepth = { readonly frames: number; readonly bytes: number };

export type SpoolBounds = {
  /** Bytes of the envelopes that are kept, those in quarantine included. */
  readonly maxBytes: number;
  /** Age of a frame, in milliseconds that the agent was running: a clock that jumps, or a month switched off, costs no frame. */
  readonly maxAgeMs: number;
};

/** Something to send: a frame, or in its place the gap that was left, under its first sequence. */
export type SpoolItem = { readonly kind: "frame" | "gap"; readonly sequence: number };
/** An item that was taken: a frame's envelope as it was sealed, or what a gap has to say and nobody has signed yet. */
export type Outgoing =
  | { readonly kind: "frame"; readonly sequence: number; readonly envelope: Uint8Array }
  | { readonly kind: "gap"; readonly sequence: number; readonly gap: UnsignedGap };
export type UnsignedGap = Omit<Gap, "signature">;

/** What had to go to keep the bounds. */
export type Dropped = { readonly frames: number; readonly windows: number; readonly bytes: number };

/** Where to look for what is to be sent next: sequences from (inclusive) and before (exclusive). */
export type SpoolRange = { readonly from: number; readonly gapsFrom: number; readonly before: number };

export const spoolTables = `
  CREATE TABLE spool (
    sequence INTEGER PRIMARY KEY, envelope BLOB NOT NULL, windows INTEGER NOT NULL DEFAULT 0, frame_time_ms REAL NOT NULL DEFAULT 0,
    stored_ms REAL NOT NULL DEFAULT 0, refused TEXT) STRICT;
  CREATE TABLE gaps (
    from_sequence INTEGER PRIMARY KEY, to_sequence INTEGER NOT NULL, windows INTEGER NOT NULL,
    from_time_ms REAL NOT NULL, to_time_ms REAL NOT NULL, reason TEXT NOT NULL, sealed INTEGER NOT NULL DEFAULT 0) STRICT;
`;

/** A segment, the unit in which frames are dropped: consecutive sequences up to so many frames or bytes, whichever is less. */
const segmentFrames = 64;
const segmentBytes = 1 << 20;
/** However full the disk is, the spool may have this much: the ballast that was given up holds it. */
const leastBytes = 2 << 20;
/** No segment takes more than this part of the bound. */
const segmentShare = 1 / 8;

type FrameFacts = { sequence: number; bytes: number; windows: number; frameTimeMs: number; storedMs: number; refused: number };
type GapRow = { fromSequence: number; toSequence: number; windows: number; fromTimeMs: number; toTimeMs: number; reason: Gap["reason"] };
/** Frames that wait and their bytes, bytes in quarantine, gaps. */
type Figures = { readonly frames: number; readonly bytes: number; readonly refusedBytes: number; readonly gaps: number };
type Segment = { readonly frames: readonly FrameFacts[]; readonly reason: Gap["reason"] };

/**
 * The frames that wait for their acknowledgement, within bounds, and the gaps where frames had to go. Oldest frames go first, whole
 * segments at a time, and each is counted in the gap that it leaves. Neither a frame that is under way nor one that was acknowledged
 * is ever dropped, so nothing that arrived is reported lost as long as the process lives. After a crash the spool cannot know what
 * arrived without its acknowledgement; the plant subtracts that.
 *
 * Works on a file that somebody else opened. What changes it belongs into a transaction, which `settled` or `undone` has to follow;
 * `take` alone makes one of its own.
 */
export class Spool {
  readonly #db: SqliteFile;
  readonly #sender: { readonly plant: string; readonly gateway: string; readonly epoch: number };
  readonly #bounds: SpoolBounds;
  /** The bound in bytes that holds now. */
  #maxBytes: number;
  /** Sequences that were taken for sending, until they are off the disk. Frames and gaps share the numbers. */
  readonly #taken = new Set<number>();
  #acknowledged = new Set<number>();
  /** As of the last transaction that is on the disk, and as of the one under way. */
  #durable: Figures;
  #pending: Figures;

  constructor(db: SqliteFile, sender: { plant: string; gateway: string; epoch: number }, bounds: SpoolBounds) {
    this.#db = db;
    this.#sender = sender;
    this.#bounds = bounds;
    this.#maxBytes = bounds.maxBytes;
    this.#durable = this.#count();
    this.#pending = this.#durable;
  }

  get depth(): SpoolDepth {
    const { frames, bytes } = this.#durable;
    return { frames, bytes };
  }

  /** Frames and gaps that nobody has taken for sending. */
  get unsent(): number {
    return this.#durable.frames + this.#durable.gaps - this.#taken.size;
  }

  /** Gaps whose acknowledgement is still to come. */
  get gaps(): number {
    return this.#durable.gaps;
  }

  /** Acknowledged and not yet off the disk. */
  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  /** The first frame or gap of a range that was not taken yet. */
  peek({ from, gapsFrom, before }: SpoolRange): SpoolItem | undefined {
    const frame = this.#firstUntaken(
      "SELECT sequence FROM spool WHERE sequence >= ? AND sequence < ? AND refused IS NULL ORDER BY 1",
      from,
      before,
    );
    if (this.#durable.gaps === 0) return frame === undefined ? undefined : { kind: "frame", sequence: frame };
    const sql = "SELECT from_sequence AS sequence FROM gaps WHERE from_sequence >= ? AND from_sequence < ? ORDER BY 1";
    const gap = this.#firstUntaken(sql, gapsFrom, before);
    if (gap !== undefined && (frame === undefined || gap < frame)) return { kind: "gap", sequence: gap };
    return frame === undefined ? undefined : { kind: "frame", sequence: frame };
  }

  /** Takes an item for sending: from now on it is under way, and a gap keeps its extent for good. */
  take({ kind, sequence }: SpoolItem): Outgoing {
    const taken: Outgoing =
      kind === "gap" ? { kind, sequence, gap: this.#sealGap(sequence) } : { kind, sequence, envelope: this.#envelope(sequence) };
    this.#taken.add(sequence);
    return taken;
  }

  /** Notes that the broker has an item. It is off the disk with the next transaction. */
  acknowledge(sequence: number): void {
    this.#acknowledged.add(sequence);
  }

  /** Within a transaction: forgets what was acknowledged. */
  removeAcknowledged(): void {
    for (const sequence of this.#acknowledged) {
      const sql = "DELETE FROM spool WHERE sequence = ? RETURNING length(envelope) AS bytes";
      const removed = this.#db.first<{ bytes: number }>(sql, sequence);
      if (removed !== undefined) this.#add({ frames: -1, bytes: -removed.bytes });
      else this.#add({ gaps: -this.#db.run("DELETE FROM gaps WHERE from_sequence = ?", sequence).changes });
    }
  }

  /**
   * Within a transaction: takes frames in, after making room for them.
   * @param nowMs on the clock that frames age by
   * @param segments to drop at the least, because the disk is full
   */
  append(frames: readonly SealedFrame[], nowMs: number, segments: number): Dropped {
    this.removeAcknowledged();
    const total = { frames: 0, windows: 0, bytes: 0 };
    const drop = (reason: Gap["reason"], olderMs?: number) => {
      const segment = this.#oldestSegment(reason, olderMs);
      if (segment === undefined) return false;
      const dropped = this.#drop(segment);
      total.frames += dropped.frames;
      total.windows += dropped.windows;
      total.bytes += dropped.bytes;
      return true;
    };
    const fit = (coming: number) => {
      while (this.#pending.bytes + this.#pending.refusedBytes + coming > this.#maxBytes && drop("bytes")) {}
    };
    while (drop("age", nowMs - this.#bounds.maxAgeMs)) {}
    for (let i = 0; i < segments && drop("bytes"); i++) {}
    const incoming = frames.reduce((sum, { envelope }) => sum + envelope.length, 0);
    fit(incoming);
    const insert = "INSERT INTO spool (sequence, envelope, windows, frame_time_ms, stored_ms) VALUES (?, ?, ?, ?, ?)";
    for (const { sequence, envelope, windows, frameTimeMs } of frames)
      this.#db.run(insert, sequence, envelope, windows, frameTimeMs, nowMs);
    this.#add({ frames: frames.length, bytes: incoming });
    fit(0); // one commit alone may be beyond the bound
    return total;
  }

  /** What is in the spool now, or a little, is as much as the disk takes: that is the bound until `growAgain`. */
  growNoMore(): void {
    const { bytes, refusedBytes } = this.#durable;
    this.#maxBytes = Math.min(this.#bounds.maxBytes, Math.max(bytes + refusedBytes, leastBytes));
  }

  /** The disk has room again. */
  growAgain(): void {
    this.#maxBytes = this.#bounds.maxBytes;
  }

  /** The transaction is on the disk. */
  settled(): void {
    for (const sequence of this.#acknowledged) this.#taken.delete(sequence);
    this.#acknowledged = new Set();
    this.#durable = this.#pending;
  }

  /** The transaction changed nothing. */
  undone(): void {
    this.#pending = this.#durable;
  }

  /** Within a transaction: takes a frame out of the way of the others. The bounds hold for it as before. */
  quarantine(sequence: number, reason: string): void {
    const sql = "UPDATE spool SET refused = ? WHERE sequence = ? RETURNING length(envelope) AS bytes";
    const { bytes } = this.#db.first<{ bytes: number }>(sql, reason, sequence)!;
    this.#taken.delete(sequence);
    this.#add({ frames: -1, bytes: -bytes, refusedBytes: bytes });
  }

  /** Frames in quarantine. */
  get quarantined(): number {
    return this.#db.first<{ frames: number }>("SELECT count(*) AS frames FROM spool WHERE refused IS NOT NULL")!.frames;
  }

  /** Within a transaction: gives frames in quarantine another chance. @returns how many */
  release(largestBytes: number): number {
    const { changes } = this.#db.run("UPDATE spool SET refused = NULL WHERE refused IS NOT NULL AND length(envelope) <= ?", largestBytes);
    this.#pending = this.#count();
    return changes;
  }

  #firstUntaken(sql: string, from: number, before: number): number | undefined {
    for (const { sequence } of this.#db.each<{ sequence: number }>(sql, from, before)) if (!this.#taken.has(sequence)) return sequence;
    return undefined;
  }

  #envelope(sequence: number): Uint8Array {
    return this.#db.first<{ envelope: Uint8Array }>("SELECT envelope FROM spool WHERE sequence = ?", sequence)!.envelope;
  }

  /** From here on the gap does not grow: sent twice it says the same. */
  #sealGap(fromSequence: number): UnsignedGap {
    const sql = `UPDATE gaps SET sealed = 1 WHERE from_sequence = ? RETURNING from_sequence AS fromSequence, to_sequence AS toSequence, windows,
      from_time_ms AS fromTimeMs, to_time_ms AS toTimeMs, reason`;
    const gap = this.#db.transaction(() => this.#db.first<GapRow>(sql, fromSequence))!;
    return { ...this.#sender, ...gap, frames: gap.toSequence - gap.fromSequence + 1 };
  }

  /** @param olderMs for age: frames stored before */
  #oldestSegment(reason: Gap["reason"], olderMs = Number.POSITIVE_INFINITY): Segment | undefined {
    const largest = Math.min(segmentBytes, this.#bounds.maxBytes * segmentShare);
    const sql = `SELECT sequence, length(envelope) AS bytes, windows, frame_time_ms AS frameTimeMs, stored_ms AS storedMs,
      refused IS NOT NULL AS refused FROM spool ORDER BY sequence`;
    const frames: FrameFacts[] = [];
    let bytes = 0;
    for (const frame of this.#db.each<FrameFacts>(sql)) {
      const usable = !this.#taken.has(frame.sequence) && frame.storedMs < olderMs;
      const follows = frames.length === 0 || frame.sequence === frames.at(-1)!.sequence + 1;
      const fits = frames.length === 0 || (frames.length < segmentFrames && bytes + frame.bytes <= largest);
      if (usable && follows && fits) {
        frames.push(frame);
        bytes += frame.bytes;
      } else if (frames.length > 0 || frame.storedMs >= olderMs) break;
    }
    return frames.length === 0 ? undefined : { frames, reason };
  }

  #drop({ frames, reason }: Segment): Dropped {
    const times = frames.map(({ frameTimeMs }) => frameTimeMs);
    const gap: GapRow = {
      fromSequence: frames[0]!.sequence,
      toSequence: frames.at(-1)!.sequence,
      windows: frames.reduce((sum, { windows }) => sum + windows, 0),
      fromTimeMs: Math.min(...times),
      toTimeMs: Math.max(...times),
      reason,
    };
    this.#db.run("DELETE FROM spool WHERE sequence BETWEEN ? AND ?", gap.fromSequence, gap.toSequence);
    this.#leaveGap(gap);
    const sizes = (refused: 0 | 1) => frames.reduce((sum, frame) => (frame.refused === refused ? sum + frame.bytes : sum), 0);
    const [bytes, refusedBytes] = [sizes(0), sizes(1)];
    this.#add({ frames: -frames.filter(({ refused }) => refused === 0).length, bytes: -bytes, refusedBytes: -refusedBytes });
    return { frames: frames.length, windows: gap.windows, bytes: bytes + refusedBytes };
  }

  /** Gaps that touch and have one reason become one, unless they are sealed. */
  #leaveGap(gap: GapRow): void {
    const sql = `DELETE FROM gaps WHERE (to_sequence = ? OR from_sequence = ?) AND reason = ? AND sealed = 0
      RETURNING from_sequence AS fromSequence, to_sequence AS toSequence, windows, from_time_ms AS fromTimeMs, to_time_ms AS toTimeMs, reason`;
    const touching = this.#db.all<GapRow>(sql, gap.fromSequence - 1, gap.toSequence + 1, gap.reason);
    const whole = touching.reduce(
      (sum, each) => ({
        fromSequence: Math.min(sum.fromSequence, each.fromSequence),
        toSequence: Math.max(sum.toSequence, each.toSequence),
        windows: sum.windows + each.windows,
        fromTimeMs: Math.min(sum.fromTimeMs, each.fromTimeMs),
        toTimeMs: Math.max(sum.toTimeMs, each.toTimeMs),
        reason: sum.reason,
      }),
      gap,
    );
    const { fromSequence, toSequence, windows, fromTimeMs, toTimeMs, reason } = whole;
    const insert = "INSERT INTO gaps (from_sequence, to_sequence, windows, from_time_ms, to_time_ms, reason) VALUES (?, ?, ?, ?, ?, ?)";
    this.#db.run(insert, fromSequence, toSequence, windows, fromTimeMs, toTimeMs, reason);
    this.#add({ gaps: 1 - touching.length });
  }

  #add(change: Partial<Figures>): void {
    const { frames, bytes, refusedBytes, gaps } = this.#pending;
    this.#pending = {
      frames: frames + (change.frames ?? 0),
      bytes: bytes + (change.bytes ?? 0),
      refusedBytes: refusedBytes + (change.refusedBytes ?? 0),
      gaps: gaps + (change.gaps ?? 0),
    };
  }

  #count(): Figures {
    const sql = `SELECT count(*) - count(refused) AS frames, coalesce(sum(length(envelope)) FILTER (WHERE refused IS NULL), 0) AS bytes,
      coalesce(sum(length(envelope)) FILTER (WHERE refused IS NOT NULL), 0) AS refusedBytes, (SELECT count(*) FROM gaps) AS gaps FROM spool`;
    return this.#db.first<Figures>(sql)!;
  }
}
