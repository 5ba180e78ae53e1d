import { setImmediate as nextTurn } from "node:timers/promises";
import type { Log, LogRecord, ReadLimits } from "./log.ts";

/** Records of a partition that are known at least, once so many have been read; at most twice as many. */
const GENERATION = 32_768;
/** How far behind its beginning a reader may ask for what is known; who is further behind reads for itself. */
const LOOK_BACK = 16_384;
/** What is read at least when somebody asks for more of the past: others will soon. */
const LOOK_BACK_STEP = 2048;
/** Records of a key that stand closer than this are read together with what is between them. */
const NEAR = 4;

/** Where the records of each key stand, in [start, the next generation's start). Offsets ascend. */
type Generation = { readonly start: number; readonly offsets: Map<string, number[]>; size: number };

/**
 * Where the records of each key stand in one partition of a log, so that any number of readers, each of one key, cost one reading of the
 * partition and not one each. Remembers offsets, and of the records only what was read last. A partition's newest part; what lies
 * further back each reader must read for itself. Begins to read with the first `read`.
 */
export class KeyIndex {
  readonly #log: Log;
  readonly #from: { readonly topic: string; readonly partition: number };
  readonly #limits: ReadLimits;
  readonly #stop: AbortSignal;
  readonly #waiting = new Map<string, () => void>();
  #older: Generation | undefined;
  #newer: Generation | undefined;
  /** What was read last, by offset. */
  #recent: ReadonlyMap<number, LogRecord> = new Map();
  #next = 0;
  #begun: Promise<void> | undefined;
  #lookingBack: Promise<void> | undefined;
  #failure: { readonly error: unknown } | undefined;

  /** @param stop ends its reading */
  constructor(log: Log, from: { readonly topic: string; readonly partition: number }, limits: ReadLimits, stop: AbortSignal) {
    this.#log = log;
    this.#from = from;
    this.#limits = limits;
    this.#stop = stop;
  }

  /** Whether reading the log failed: nothing more comes from this one. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /**
   * The next records of a key from an offset on, some of other keys among them; waits for the first. One call at a time for each key.
   * @returns nothing once the signal is aborted; undefined when the offset lies further back than what is known
   * @throws what the log threw
   */
  async read(key: string, from: number, maxRecords: number, signal: AbortSignal): Promise<readonly LogRecord[] | undefined> {
    this.#begun ??= this.#begin();
    await this.#begun;
    while (from < this.#start && from >= this.#next - LOOK_BACK && this.#failure === undefined) {
      this.#lookingBack ??= this.#lookBack(from).finally(() => {
        this.#lookingBack = undefined;
      });
      await this.#lookingBack;
    }
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure.error;
      if (signal.aborted || this.#stop.aborted) return [];
      if (from < this.#start) return undefined;
      const offsets = this.#offsetsOf(key, from, maxRecords);
      if (offsets.length > 0) return this.#recordsAt(offsets, signal);
      await this.#news(key, signal);
    }
  }

  get #start(): number {
    return (this.#older ?? this.#newer)!.start;
  }

  #offsetsOf(key: string, from: number, most: number): number[] {
    const found: number[] = [];
    for (const generation of [this.#older, this.#newer]) {
      const offsets = generation?.offsets.get(key) ?? [];
      found.push(...offsets.slice(lowerBound(offsets, from)).slice(0, most - found.length));
    }
    return found;
  }

  async #recordsAt(offsets: readonly number[], signal: AbortSignal): Promise<readonly LogRecord[]> {
    const recent = offsets.map((offset) => this.#recent.get(offset));
    const missing = recent.indexOf(undefined);
    if (missing !== 0) return (missing < 0 ? recent : recent.slice(0, missing)) as LogRecord[];
    const end = offsets.findIndex((offset, i) => i > 0 && offset - offsets[i - 1]! > NEAR);
    const last = offsets.at(end < 0 ? -1 : end - 1)!;
    return this.#log.read({ ...this.#from, offset: offsets[0]! }, { ...this.#limits, maxRecords: last - offsets[0]! + 1 }, signal);
  }

  /** Resolves when there is a new record of the key, or the signal is aborted. */
  async #news(key: string, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.set(key, resolve);
    signal.addEventListener("abort", resolve as () => void);
    await promise;
    signal.removeEventListener("abort", resolve as () => void);
    if (this.#waiting.get(key) === resolve) this.#waiting.delete(key);
  }

  async #begin(): Promise<void> {
    try {
      const { latest } = (await this.#log.ends(this.#from.topic))[this.#from.partition]!;
      this.#next = latest;
      this.#newer = { start: latest, offsets: new Map(), size: 0 };
      void this.#follow();
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  async #follow(): Promise<void> {
    try {
      while (!this.#stop.aborted) {
        const records = await this.#log.read({ ...this.#from, offset: this.#next }, this.#limits, this.#stop);
        if (records.length === 0) continue;
        this.#recent = new Map(records.map((record) => [record.offset, record]));
        for (const { key, offset } of records) this.#note(key, offset);
        this.#next = records.at(-1)!.offset + 1;
        for (const key of new Set(records.map((record) => record.key))) this.#waiting.get(key)?.();
        await nextTurn();
      }
    } catch (error) {
      this.#fail(error);
    }
    for (const wake of this.#waiting.values()) wake();
  }

  #note(key: string, offset: number): void {
    if (this.#newer!.size >= GENERATION) {
      this.#older = this.#newer!;
      this.#newer = { start: offset, offsets: new Map(), size: 0 };
    }
    add(this.#newer!, key, offset);
  }

  /** Begins earlier, as if it had been there before. Whoever can ask for it has all of it read once, and never again. */
  async #lookBack(from: number): Promise<void> {
    const known = this.#older ?? this.#newer!;
    const start = Math.max(0, Math.min(from, known.start - LOOK_BACK_STEP));
    const before: Generation = { start, offsets: new Map(), size: 0 };
    try {
      for (let offset = start; offset < known.start && !this.#stop.aborted; await nextTurn()) {
        const records = await this.#log.read({ ...this.#from, offset }, { ...this.#limits, waitMs: 0 }, this.#stop);
        if (records.length === 0) break;
        for (const each of records) if (each.offset < known.start) add(before, each.key, each.offset);
        offset = records.at(-1)!.offset + 1;
      }
    } catch (error) {
      this.#fail(error);
      return;
    }
    // Where a generation was dropped meanwhile, there is more than enough without.
    if (known !== (this.#older ?? this.#newer)) return;
    for (const [key, offsets] of known.offsets) {
      const earlier = before.offsets.get(key);
      if (earlier === undefined) before.offsets.set(key, offsets);
      else for (const offset of offsets) earlier.push(offset);
    }
    before.size += known.size;
    if (this.#older === undefined) this.#newer = before;
    else this.#older = before;
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    for (const wake of this.#waiting.values()) wake();
  }
}

function add(generation: Generation, key: string, offset: number): void {
  const offsets = generation.offsets.get(key);
  if (offsets === undefined) generation.offsets.set(key, [offset]);
  else offsets.push(offset);
  generation.size++;
}

/** Index of the first number that is not below. */
function lowerBound(ascending: readonly number[], least: number): number {
  let low = 0;
  for (let high = ascending.length; low < high; ) {
    const middle = (low + high) >>> 1;
    if (ascending[middle]! < least) low = middle + 1;
    else high = middle;
  }
  return low;
}
