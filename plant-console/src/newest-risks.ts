import type { SqliteFile } from "@smile/runtime/sqlite";

/** The newest risk of a machine under one output of one head. */
export type NewestRisk = {
  /** By number, in `names`. */
  readonly machine: number;
  /** Where it came. */
  readonly block: number;
  readonly risk: number;
  /** End of the window, event time in ms. */
  readonly frameTimeMs: number;
  /** Of the alert that is open; 0 when none is. */
  readonly openAlert: number;
};

/** A row holds the machines whose newest risk came in one block: what a frame changes stands together. */
export const newestRiskTables = `
  CREATE TABLE newest_risks (
    head INTEGER NOT NULL, output INTEGER NOT NULL, block INTEGER NOT NULL, machines BLOB NOT NULL, PRIMARY KEY (head, output, block)
  ) STRICT;
`;

/** Bytes of a machine: risk, time and alert as binary64, and its number as 32 bits. */
const MACHINE_BYTES = 28;

/** @returns all risks, then all times, alerts and machines, each in the order given, in this computer's byte order */
function packMachines(newest: Iterable<NewestRisk>, count: number): Uint8Array {
  const bytes = new Uint8Array(count * MACHINE_BYTES);
  const { risks, times, alerts, machines } = viewsOf(bytes.buffer, count);
  let i = 0;
  for (const { machine, risk, frameTimeMs, openAlert } of newest) {
    risks[i] = risk;
    times[i] = frameTimeMs;
    alerts[i] = openAlert;
    machines[i++] = machine;
  }
  return bytes;
}

/** Machines of a block's row of `newest_risks`. */
export function unpackMachines(bytes: Uint8Array, block: number): NewestRisk[] {
  const { risks, times, alerts, machines } = viewsOf(bytes.slice().buffer, bytes.length / MACHINE_BYTES); // the copy aligns them
  return Array.from(machines, (machine, i) => ({ machine, block, risk: risks[i]!, frameTimeMs: times[i]!, openAlert: alerts[i]! }));
}

function viewsOf(buffer: ArrayBuffer, count: number) {
  return {
    risks: new Float64Array(buffer, 0, count),
    times: new Float64Array(buffer, 8 * count, count),
    alerts: new Float64Array(buffer, 16 * count, count),
    machines: new Uint32Array(buffer, 24 * count, count),
  };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** The newest risks under one output of one head. What it hands out changes with the next `set`. */
export class RiskSeries {
  readonly head: number;
  readonly output: number;
  readonly #machines = new Map<number, Mutable<NewestRisk>>();
  readonly #blocks = new Map<number, Map<number, NewestRisk>>();
  #changed = new Set<number>();

  constructor(head: number, output: number) {
    this.head = head;
    this.output = output;
  }

  find(machine: number): NewestRisk | undefined {
    return this.#machines.get(machine);
  }

  values(): Iterable<NewestRisk> {
    return this.#machines.values();
  }

  /** For nearly every window of a stream the machine is known and its block the same: then nothing is looked up twice, or made. */
  set(newest: NewestRisk): void {
    const { machine, block, risk, frameTimeMs, openAlert } = newest;
    this.#changed.add(block);
    const known = this.#machines.get(machine);
    if (known?.block === block) {
      known.risk = risk;
      known.frameTimeMs = frameTimeMs;
      known.openAlert = openAlert;
      return;
    }
    if (known !== undefined) {
      this.#blocks.get(known.block)!.delete(machine);
      this.#changed.add(known.block);
    }
    let machines = this.#blocks.get(block);
    if (machines === undefined) {
      machines = new Map();
      this.#blocks.set(block, machines);
    }
    const own = { machine, block, risk, frameTimeMs, openAlert };
    machines.set(machine, own);
    this.#machines.set(machine, own);
  }

  /** @returns blocks that changed since the last call, with the machines whose newest risk came in each */
  takeChanged(): [block: number, machines: ReadonlyMap<number, NewestRisk>][] {
    const changed = [...this.#changed].map((block) => [block, this.#blocks.get(block)!] as [number, Map<number, NewestRisk>]);
    this.#changed = new Set();
    return changed;
  }
}

/**
 * The newest risk of every machine, kept in memory and in a file that somebody else opened: to decide on a window no row is read, and
 * for a frame one is written.
 */
export class NewestRisks {
  readonly #db: SqliteFile;
  #series = new Map<string, RiskSeries>();
  /** SQLite's mark of what other connections wrote, at the last reading; undefined while what is in memory does not count. */
  #version: number | undefined;

  constructor(db: SqliteFile) {
    this.#db = db;
  }

  /** Reads anew what another connection wrote, or what `undone` gave up. Before anything else is asked. */
  refresh(): void {
    const { data_version: version } = this.#db.first<{ data_version: number }>("PRAGMA data_version")!;
    if (version === this.#version) return;
    this.#series = new Map();
    const sql = "SELECT head, output, block, machines FROM newest_risks";
    for (const { head, output, block, machines } of this.#db.each<NewestRow>(sql)) {
      const series = this.of(head, output);
      for (const newest of unpackMachines(machines, block)) series.set(newest);
    }
    for (const series of this.#series.values()) series.takeChanged();
    this.#version = version;
  }

  of(head: number, output: number): RiskSeries {
    const key = `${head}/${output}`;
    let series = this.#series.get(key);
    if (series === undefined) {
      series = new RiskSeries(head, output);
      this.#series.set(key, series);
    }
    return series;
  }

  /** How many machines there are under any head. */
  countMachines(): number {
    const machines = new Set<number>();
    for (const series of this.#series.values()) for (const { machine } of series.values()) machines.add(machine);
    return machines.size;
  }

  /** Within the transaction in which they changed. */
  write(): void {
    const write = `INSERT INTO newest_risks (head, output, block, machines) VALUES (?, ?, ?, ?)
      ON CONFLICT (head, output, block) DO UPDATE SET machines = excluded.machines`;
    for (const series of this.#series.values()) {
      for (const [block, machines] of series.takeChanged())
        this.#db.run(write, series.head, series.output, block, packMachines(machines.values(), machines.size));
    }
  }

  /** After a transaction that failed: what stands in the file counts. */
  undone(): void {
    this.#version = undefined;
  }
}

type NewestRow = { readonly head: number; readonly output: number; readonly block: number; readonly machines: Uint8Array };
