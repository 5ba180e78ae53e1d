import type { SqliteFile } from "@smile/runtime/sqlite";
import type { Gap } from "@smile/schemas/envelopes";
import type { FrameRiskTable } from "./frame-risks.ts";

/** A gap as it stands: what the gateway said, less what arrived all the same. */
export type StoredGap = Omit<Gap, "plant" | "signature"> & {
  /** This computer's clock, ms. */
  readonly storedAtMs: number;
  readonly missingFrames: number;
  readonly missingWindows: number;
};

/** All that gateways had to drop and that did not arrive. */
export type Losses = { readonly gaps: number; readonly frames: number; readonly windows: number };

/** What names a frame, with its gateway by number. */
export type ArrivedFrame = { readonly gateway: number; readonly epoch: number; readonly sequence: number };

export const gapTables = `
  CREATE TABLE gaps (
    id INTEGER PRIMARY KEY, gateway INTEGER NOT NULL, epoch INTEGER NOT NULL, from_sequence INTEGER NOT NULL, to_sequence INTEGER NOT NULL,
    windows INTEGER NOT NULL, from_time_ms INTEGER NOT NULL, to_time_ms INTEGER NOT NULL, reason TEXT NOT NULL,
    stored_at_ms INTEGER NOT NULL, UNIQUE (gateway, epoch, from_sequence, to_sequence)
  ) STRICT;
  CREATE TABLE gap_arrivals (gap INTEGER NOT NULL, sequence INTEGER NOT NULL, windows INTEGER NOT NULL, PRIMARY KEY (gap, sequence)) STRICT,
    WITHOUT ROWID;
`;

const GAPS = `
  SELECT * FROM (SELECT p.id, n.name AS gateway, p.epoch, p.from_sequence AS fromSequence, p.to_sequence AS toSequence,
    p.to_sequence - p.from_sequence + 1 AS frames, p.windows, p.from_time_ms AS fromTimeMs, p.to_time_ms AS toTimeMs, p.reason,
    p.stored_at_ms AS storedAtMs, p.to_sequence - p.from_sequence + 1 - count(a.sequence) AS missingFrames,
    CASE WHEN p.to_sequence - p.from_sequence + 1 = count(a.sequence) THEN 0 ELSE max(0, p.windows - coalesce(sum(a.windows), 0)) END
      AS missingWindows
  FROM gaps p JOIN names n ON n.id = p.gateway LEFT JOIN gap_arrivals a ON a.gap = p.id GROUP BY p.id)`;

/**
 * Which frames will never come, by their gateways, in a file that somebody else opened. A frame of which a risk is stored is not
 * missing, whether it came before the gap or comes after it: a gateway that crashed cannot know what had arrived.
 */
export class GapTable {
  readonly #db: SqliteFile;
  readonly #risks: Pick<FrameRiskTable, "windowsOf">;
  #isEmpty: boolean;

  constructor(db: SqliteFile, risks: Pick<FrameRiskTable, "windowsOf">) {
    this.#db = db;
    this.#risks = risks;
    this.#isEmpty = db.first("SELECT 1 FROM gaps LIMIT 1") === undefined;
  }

  /**
   * Within a transaction. A gateway's gaps do not overlap, since one that was signed does not grow: of those that do, what came first stays.
   * Else whoever has a gateway's key could have every frame noted in every one of a million gaps.
   * @returns the gap when it is new and something of it is missing
   */
  insert(gap: Gap, gateway: number, storedAtMs: number, retain: number): StoredGap | undefined {
    const { epoch, fromSequence, toSequence, windows, fromTimeMs, toTimeMs, reason } = gap;
    const before = this.#lastFromBelow({ gateway, epoch, sequence: toSequence });
    if (before !== undefined && before.toSequence >= fromSequence) return undefined;
    const values = [gateway, epoch, fromSequence, toSequence, windows, fromTimeMs, toTimeMs, reason, storedAtMs];
    const insert = `INSERT INTO gaps (gateway, epoch, from_sequence, to_sequence, windows, from_time_ms, to_time_ms, reason, stored_at_ms)
      VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`;
    const { lastId } = this.#db.run(insert, ...values);
    this.#isEmpty = false;
    this.#noteArrivals(lastId, gateway, epoch, fromSequence, toSequence);
    const gone = this.#db.run("DELETE FROM gaps WHERE id <= ?", lastId - retain).changes;
    if (gone > 0) this.#db.run("DELETE FROM gap_arrivals WHERE gap <= ?", lastId - retain);
    const stored = this.#db.first<StoredGap>(`${GAPS} WHERE id = ? AND missingFrames > 0`, lastId);
    return stored && withoutId(stored);
  }

  /** Within a transaction: frames of which risks were stored. */
  arrived(frames: Iterable<ArrivedFrame>): void {
    if (this.#isEmpty) return;
    for (const frame of frames) {
      const gap = this.#lastFromBelow(frame);
      const { gateway, epoch, sequence } = frame;
      if (gap !== undefined && gap.toSequence >= sequence) this.#noteArrivals(gap.id, gateway, epoch, sequence, sequence);
    }
  }

  /** The only gap that can cover a frame: the last one that begins at it or before. */
  #lastFromBelow({ gateway, epoch, sequence }: ArrivedFrame): { readonly id: number; readonly toSequence: number } | undefined {
    const last = `SELECT id, to_sequence AS toSequence FROM gaps WHERE gateway = ? AND epoch = ? AND from_sequence <= ?
      ORDER BY from_sequence DESC LIMIT 1`;
    return this.#db.first(last, gateway, epoch, sequence);
  }

  /** The newest gaps of which something is missing, newest first. */
  newest(limit: number): StoredGap[] {
    return this.#db.all<StoredGap>(`${GAPS} WHERE missingFrames > 0 ORDER BY id DESC LIMIT ?`, limit).map(withoutId);
  }

  losses(): Losses {
    // `total` is a floating-point number: what two gateways with stolen keys claim together may pass every integer.
    const sum = `SELECT count(*) AS gaps, total(missingFrames) AS frames, total(missingWindows) AS windows
      FROM (${GAPS}) WHERE missingFrames > 0`;
    return { ...this.#db.first<Losses>(sum)! };
  }

  #noteArrivals(gap: number, gateway: number, epoch: number, from: number, to: number): void {
    const note = "INSERT OR REPLACE INTO gap_arrivals (gap, sequence, windows) VALUES (?, ?, ?)";
    for (const { sequence, windows } of this.#risks.windowsOf({ gateway, epoch, from, to })) this.#db.run(note, gap, sequence, windows);
  }
}

function withoutId(row: StoredGap): StoredGap {
  const { id: _, ...gap } = row as StoredGap & { id: number };
  return gap;
}
