import type { SqliteFile } from "@smile/runtime/sqlite";

/** One window's share of a frame's risks. */
export type WindowRisk = {
  readonly lane: number;
  /** By number, in `names`. */
  readonly machine: number;
  readonly score: number;
  readonly risk: number;
};

/** What names the risks of a frame under one output of one head; gateway and head by number, in `names`. */
export type FrameKey = {
  readonly gateway: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly block: number;
  readonly head: number;
  readonly output: number;
};

/** Times in ms. */
export type FrameTimes = { readonly frameTimeMs: number; readonly closedAtMs: number; readonly storedAtMs: number };

/** Sequences from first to last. */
export type FrameRange = Pick<FrameKey, "gateway" | "epoch"> & { readonly from: number; readonly to: number };

/** Risks of windows of one frame, each lane at most once. */
export type FrameRisks = FrameKey & FrameTimes & { readonly windows: readonly WindowRisk[] };

/**
 * A row holds the risks of a frame under one output of one head, as far as they came together: what came later, of lanes that were
 * leased to nobody at first, has a row of its own. Its id is the number of its last risk, counted from the store's first on, so that
 * ids say how many risks there are between two rows. `machine_blocks` says where to look for a machine's risks.
 */
export const frameRiskTables = `
  CREATE TABLE frame_risks (
    id INTEGER PRIMARY KEY,
    gateway INTEGER NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
    block INTEGER NOT NULL, head INTEGER NOT NULL, output INTEGER NOT NULL,
    frame_time_ms INTEGER NOT NULL, closed_at_ms INTEGER NOT NULL, stored_at_ms INTEGER NOT NULL,
    windows INTEGER NOT NULL, risks BLOB NOT NULL
  ) STRICT;
  CREATE INDEX frame_risks_by_frame ON frame_risks (gateway, epoch, sequence, block, head, output);
  CREATE INDEX frame_risks_by_time ON frame_risks (block, head, output, frame_time_ms);
  CREATE TABLE machine_blocks (machine INTEGER NOT NULL, block INTEGER NOT NULL, PRIMARY KEY (machine, block)) STRICT, WITHOUT ROWID;
`;

const COLUMNS = `id, gateway, epoch, sequence, block, head, output,
  frame_time_ms AS frameTimeMs, closed_at_ms AS closedAtMs, stored_at_ms AS storedAtMs, risks`;
type Row = FrameKey & FrameTimes & { readonly id: number; readonly risks: Uint8Array };

/** Bytes of a window: score and risk as binary64, machine and lane as 32 bits. */
const WINDOW_BYTES = 24;

/** @returns all scores, then all risks, machines and lanes, each in the order given, in this computer's byte order */
export function packWindows(windows: readonly WindowRisk[]): Uint8Array {
  const count = windows.length;
  const bytes = new Uint8Array(count * WINDOW_BYTES);
  const { scores, risks, machines, lanes } = viewsOf(bytes.buffer, count);
  for (let i = 0; i < count; i++) {
    const { lane, machine, score, risk } = windows[i]!;
    scores[i] = score;
    risks[i] = risk;
    machines[i] = machine;
    lanes[i] = lane;
  }
  return bytes;
}

/** The reverse of `packWindows`. */
export function unpackWindows(bytes: Uint8Array): WindowRisk[] {
  const count = bytes.length / WINDOW_BYTES;
  const { scores, risks, machines, lanes } = viewsOf(bytes.slice().buffer, count); // the copy aligns them
  return Array.from(lanes, (lane, i) => ({ lane, machine: machines[i]!, score: scores[i]!, risk: risks[i]! }));
}

function viewsOf(buffer: ArrayBuffer, count: number) {
  return {
    scores: new Float64Array(buffer, 0, count),
    risks: new Float64Array(buffer, 8 * count, count),
    machines: new Uint32Array(buffer, 16 * count, count),
    lanes: new Uint32Array(buffer, 20 * count, count),
  };
}

/** The risks of a plant, frame by frame, in a file that somebody else opened. What changes it belongs into a transaction. */
export class FrameRiskTable {
  readonly #db: SqliteFile;

  constructor(db: SqliteFile) {
    this.#db = db;
  }

  /** How many risks there are. */
  get count(): number {
    const sql = `SELECT (SELECT max(id) FROM frame_risks) - id + windows AS risks FROM frame_risks ORDER BY id LIMIT 1`;
    return this.#db.first<{ risks: number }>(sql)?.risks ?? 0;
  }

  /** @param risks of at least one window, none of which is stored */
  insert({ gateway, epoch, sequence, block, head, output, frameTimeMs, closedAtMs, storedAtMs, windows }: FrameRisks): void {
    const insert = `INSERT INTO frame_risks VALUES
      ((SELECT coalesce(max(id), 0) FROM frame_risks) + ?10, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)`;
    const key = [gateway, epoch, sequence, block, head, output];
    this.#db.run(insert, ...key, frameTimeMs, closedAtMs, storedAtMs, windows.length, packWindows(windows));
  }

  /** What is stored of a frame under one output of one head, by lane. */
  scores({ gateway, epoch, sequence, block, head, output }: FrameKey): ReadonlyMap<number, number> {
    const sql = `SELECT risks FROM frame_risks
      WHERE gateway = ? AND epoch = ? AND sequence = ? AND block = ? AND head = ? AND output = ?`;
    const rows = this.#db.all<Pick<Row, "risks">>(sql, gateway, epoch, sequence, block, head, output);
    return new Map(rows.flatMap(({ risks }) => unpackWindows(risks).map(({ lane, score }) => [lane, score] as const)));
  }

  /** Notes that a machine has risks in a block. */
  noteBlock(machine: number, block: number): void {
    this.#db.run("INSERT OR IGNORE INTO machine_blocks VALUES (?, ?)", machine, block);
  }

  /** The newest risks of a machine under one output of one head, by event time, newest first; of one time what was stored last first. */
  newestOf(machine: number, head: number, output: number, limit: number): FrameRisks[] {
    const blocks = this.#db.all<{ block: number }>("SELECT block FROM machine_blocks WHERE machine = ?", machine);
    const sql = `SELECT ${COLUMNS} FROM frame_risks WHERE block = ? AND head = ? AND output = ? ORDER BY frame_time_ms DESC, id DESC`;
    const found: (FrameRisks & { readonly id: number })[] = [];
    for (const { block } of blocks) {
      let left = limit;
      for (const { risks, ...row } of this.#db.each<Row>(sql, block, head, output)) {
        if (left <= 0) break;
        const own = unpackWindows(risks).filter((window) => window.machine === machine);
        for (const window of own.toReversed()) found.push({ ...row, windows: [window] });
        left -= own.length;
      }
    }
    return found.toSorted((a, b) => b.frameTimeMs - a.frameTimeMs || b.id - a.id).slice(0, limit);
  }

  /** How many windows there are of each frame of a range, by whichever heads; frames of which there are none are left out. */
  *windowsOf({ gateway, epoch, from, to }: FrameRange): Generator<{ readonly sequence: number; readonly windows: number }> {
    const sql = "SELECT sequence, risks FROM frame_risks WHERE gateway = ? AND epoch = ? AND sequence BETWEEN ? AND ? ORDER BY sequence";
    let last: { readonly sequence: number; readonly lanes: Set<number> } | undefined;
    for (const { sequence, risks } of this.#db.each<Row>(sql, gateway, epoch, from, to)) {
      if (last !== undefined && last.sequence !== sequence) yield { sequence: last.sequence, windows: last.lanes.size };
      if (last?.sequence !== sequence) last = { sequence, lanes: new Set() };
      for (const { lane } of unpackWindows(risks)) last.lanes.add(lane);
    }
    if (last !== undefined) yield { sequence: last.sequence, windows: last.lanes.size };
  }

  /** Forgets the oldest rows, as many as leave at least so many risks. */
  retain(risks: number): void {
    this.#db.run("DELETE FROM frame_risks WHERE id <= (SELECT max(id) FROM frame_risks) - ?", risks);
  }
}
