import { existsSync } from "node:fs";
import { DatabaseSync } from "node:sqlite";
import { unpackWindows } from "@smile/plant-console/frame-risks";
import { unpackMachines } from "@smile/plant-console/newest-risks";
import type { AlertEntry, GapEntry, NewestEntry, RiskEntry } from "./journals.ts";

const RISKS = `
  SELECT r.id, g.name AS gateway, r.epoch, r.sequence, r.block, h.name AS headId, r.output, r.frame_time_ms AS frameTimeMs, r.risks
  FROM frame_risks r JOIN names h ON h.id = r.head JOIN names g ON g.id = r.gateway
  WHERE r.id > ? ORDER BY r.id`;
const ALERTS = `
  SELECT m.name AS machine, a.raised_at_ms AS raisedAtMs, a.cleared_at_ms AS clearedAtMs
  FROM alerts a JOIN names m ON m.id = a.machine`;
const GAPS = `
  SELECT n.name AS gateway, g.epoch, g.from_sequence AS fromSequence, g.to_sequence AS toSequence, g.windows,
    g.from_time_ms AS fromTimeMs, g.to_time_ms AS toTimeMs
  FROM gaps g JOIN names n ON n.id = g.gateway`;
const NEWEST = "SELECT block, machines FROM newest_risks";
const NAMES = "SELECT id, name FROM names";

type FrameRow = Omit<RiskEntry, "lane" | "machine" | "score" | "risk"> & { readonly id: number; readonly risks: Uint8Array };

/**
 * What the console has stored, read beside it while it runs, in the order in which it stored it: the file's own row ids, which no other
 * reader of the store gives.
 */
export class ConsoleJournal implements Disposable {
  readonly #path: string;
  #db: DatabaseSync | undefined;
  #last = 0;
  readonly risks: RiskEntry[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  /** Takes up the risks that came since the last call. @returns them */
  read(): readonly RiskEntry[] {
    const db = this.#open();
    if (db === undefined) return [];
    const frames = db.prepare(RISKS).all(this.#last) as unknown as FrameRow[];
    if (frames.length === 0) return [];
    this.#last = frames.at(-1)!.id;
    const names = this.#names(db);
    const rows = frames.flatMap(({ id: _, risks, ...frame }) =>
      unpackWindows(risks).map(({ machine, ...window }): RiskEntry => ({ ...frame, ...window, machine: names.get(machine)! })),
    );
    this.risks.push(...rows);
    return rows;
  }

  alerts(): AlertEntry[] {
    return (this.#open()?.prepare(ALERTS).all() ?? []) as unknown as AlertEntry[];
  }

  newest(): NewestEntry[] {
    const db = this.#open();
    if (db === undefined) return [];
    const rows = db.prepare(NEWEST).all() as unknown as { block: number; machines: Uint8Array }[];
    const names = this.#names(db);
    return rows.flatMap(({ block, machines }) =>
      unpackMachines(machines, block).map(({ machine, frameTimeMs }) => ({ machine: names.get(machine)!, frameTimeMs })),
    );
  }

  gaps(): GapEntry[] {
    return (this.#open()?.prepare(GAPS).all() ?? []) as unknown as GapEntry[];
  }

  [Symbol.dispose](): void {
    this.#db?.close();
  }

  #names(db: DatabaseSync): ReadonlyMap<number, string> {
    const rows = db.prepare(NAMES).all() as unknown as { id: number; name: string }[];
    return new Map(rows.map(({ id, name }) => [id, name]));
  }

  #open(): DatabaseSync | undefined {
    if (this.#db !== undefined || !existsSync(this.#path)) return this.#db;
    const db = new DatabaseSync(this.#path, { readOnly: true, timeout: 2000 });
    // The console makes the file before it makes its tables, all of them at once.
    if (db.prepare("SELECT 1 FROM sqlite_master WHERE name = 'frame_risks'").get() === undefined) db.close();
    else this.#db = db;
    return this.#db;
  }
}
