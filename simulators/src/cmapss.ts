import { createReadStream } from "node:fs";
import { access } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { Row } from "@smile/features/spec";

/** The four sets of NASA's C-MAPSS turbofan data (Saxena, Goebel, Simon and Eklund, PHM08, 2008). */
export const cmapssSets = ["FD001", "FD002", "FD003", "FD004"] as const;
export type CmapssSet = (typeof cmapssSets)[number];

/** Operational settings in the order of the file: altitude (1000 ft), Mach number, throttle resolver angle. */
export const cmapssSettings = ["setting1", "setting2", "setting3"] as const;

/** NASA's names of the 21 sensors `s1` to `s21`, in the order of the file; for people, not keys. */
export const cmapssSensorNames = {
  s1: "T2",
  s2: "T24",
  s3: "T30",
  s4: "T50",
  s5: "P2",
  s6: "P15",
  s7: "P30",
  s8: "Nf",
  s9: "Nc",
  s10: "epr",
  s11: "Ps30",
  s12: "phi",
  s13: "NRf",
  s14: "NRc",
  s15: "BPR",
  s16: "farB",
  s17: "htBleed",
  s18: "Nf_dmd",
  s19: "PCNfR_dmd",
  s20: "W31",
  s21: "W32",
} as const;

/** `s1` to `s21`, in the order of the file. */
export const cmapssSensors = Object.keys(cmapssSensorNames) as readonly (keyof typeof cmapssSensorNames)[];

const valueNames = [...cmapssSettings, ...cmapssSensors];
const columns = 2 + valueNames.length;

/** One cycle of one engine; `timeMs` is the cycle's number times `cycleMs`. */
export type CmapssRow = Row;

/** One engine. `rows` may be iterated again and again; it makes the rows from numbers packed in memory. */
export type CmapssEngine = {
  readonly unit: number;
  /** For instance `FD001-test-007`. */
  readonly machine: string;
  readonly cycles: number;
  /** Event time of the last row. */
  readonly lastMs: number;
  /** Cycles from the last row to failure: 0 in training data, which runs to failure. */
  readonly remainingCycles: number;
  readonly rows: Iterable<CmapssRow>;
};

export type CmapssData = {
  readonly set: CmapssSet;
  readonly cycleMs: number;
  readonly train: readonly CmapssEngine[];
  readonly test: readonly CmapssEngine[];
};

/**
 * Reads `train_`, `test_` (`.txt`, else `.txt.gz`) and `RUL_` of one set.
 * @param options.cycleMs event time of one cycle, positive; 60,000 by default
 * @throws {PipelineError} FILE_MISSING naming the file; FILE_DAMAGED naming file and line
 */
export async function loadCmapss(folder: string, set: CmapssSet, options: { cycleMs?: number } = {}): Promise<CmapssData> {
  const cycleMs = options.cycleMs ?? 60_000;
  if (!(cycleMs > 0)) throw new RangeError("cycleMs must be positive");
  const train = await readEngines(folder, `train_${set}`);
  const test = await readEngines(folder, `test_${set}`);
  const remaining = await readRemaining(folder, `RUL_${set}`, test.length);
  return {
    set,
    cycleMs,
    train: train.map((values, i) => engine(`${set}-train`, i + 1, values, 0, cycleMs)),
    test: test.map((values, i) => engine(`${set}-test`, i + 1, values, remaining[i]!, cycleMs)),
  };
}

/** Rows of all engines side by side: every engine's cycle 1, then every engine's cycle 2, until each has ended. */
export function* replayCmapss(engines: readonly CmapssEngine[]): Generator<CmapssRow> {
  let running = engines.map((one) => one.rows[Symbol.iterator]());
  while (running.length > 0) {
    const next: typeof running = [];
    for (const rows of running) {
      const step = rows.next();
      if (step.done) continue;
      yield step.value;
      next.push(rows);
    }
    running = next;
  }
}

function engine(prefix: string, unit: number, values: Float64Array, remainingCycles: number, cycleMs: number): CmapssEngine {
  const machine = `${prefix}-${String(unit).padStart(3, "0")}`;
  const cycles = values.length / valueNames.length;
  const rows = {
    *[Symbol.iterator](): Generator<CmapssRow> {
      for (let cycle = 0; cycle < cycles; cycle++) {
        const row: Record<string, number> = {};
        for (let v = 0; v < valueNames.length; v++) row[valueNames[v]!] = values[cycle * valueNames.length + v]!;
        yield { machine, timeMs: (cycle + 1) * cycleMs, values: row };
      }
    },
  };
  return { unit, machine, cycles, lastMs: cycles * cycleMs, remainingCycles, rows };
}

/** @returns per engine [cycles][settings and sensors], row by row */
async function readEngines(folder: string, name: string): Promise<Float64Array[]> {
  const engines: number[][] = [];
  let cycle = 0;
  const file = await readLines(folder, name, (numbers, line, refuse) => {
    if (numbers.length !== columns) refuse(`has ${numbers.length} columns, not ${columns}`);
    const [unit, nextCycle] = numbers as [number, number];
    if (unit === engines.length + 1 && nextCycle === 1) engines.push([]);
    else if (line === 1 || unit !== engines.length || nextCycle !== cycle + 1) {
      refuse("does not continue its engine by one cycle, and does not begin the next engine");
    }
    cycle = nextCycle;
    engines.at(-1)!.push(...numbers.slice(2));
  });
  if (engines.length === 0) throw damaged(file, 1, "is empty");
  return engines.map((values) => Float64Array.from(values));
}

async function readRemaining(folder: string, name: string, engines: number): Promise<number[]> {
  const remaining: number[] = [];
  const file = await readLines(folder, name, (numbers, _line, refuse) => {
    if (numbers.length !== 1 || !Number.isInteger(numbers[0]) || numbers[0]! < 0) refuse("is not one whole number of cycles");
    if (remaining.length === engines) refuse(`is one too many for ${engines} test engines`);
    remaining.push(numbers[0]!);
  });
  if (remaining.length !== engines) throw damaged(file, remaining.length + 1, `is missing: there are ${engines} test engines`);
  return remaining;
}

type OnLine = (numbers: number[], line: number, refuse: (what: string) => never) => void;

/** Streams the numbers of each line of `name.txt` or `name.txt.gz`. @returns the path that was read */
async function readLines(folder: string, name: string, onLine: OnLine): Promise<string> {
  const plain = join(folder, `${name}.txt`);
  const file = (await exists(plain)) ? plain : `${plain}.gz`;
  if (!(await exists(file))) throw new PipelineError("FILE_MISSING", `neither ${plain} nor ${plain}.gz can be read`, { file: plain });
  let line = 0;
  const take = (text: string) => {
    line++;
    const numbers = text.trim().split(/\s+/).map(Number);
    const refuse = (what: string): never => {
      throw damaged(file, line, what);
    };
    if (text.trim() === "") refuse("is empty");
    if (!numbers.every(Number.isFinite)) refuse("holds something that is not a number");
    onLine(numbers, line, refuse);
  };
  const consume = async (source: AsyncIterable<Buffer>) => {
    let rest = "";
    for await (const chunk of source) {
      const lines = (rest + chunk.toString("latin1")).split("\n");
      rest = lines.pop()!;
      for (const text of lines) take(text);
      if (rest.length > 10_000) throw damaged(file, line + 1, "does not end");
    }
    if (rest.trim() !== "") take(rest);
  };
  try {
    if (file === plain) await pipeline(createReadStream(file), consume);
    else await pipeline(createReadStream(file), createGunzip(), consume);
  } catch (cause) {
    if (cause instanceof PipelineError) throw cause;
    throw damaged(file, line + 1, `cannot be read (${(cause as NodeJS.ErrnoException).code ?? "unknown reason"})`, cause);
  }
  return file;
}

const exists = (file: string) =>
  access(file).then(
    () => true,
    () => false,
  );

function damaged(file: string, line: number, what: string, cause?: unknown): PipelineError {
  return new PipelineError("FILE_DAMAGED", `${file}: line ${line} ${what}`, { file, line }, cause);
}
