import { type Profiler, Session } from "node:inspector";
import { setFlagsFromString } from "node:v8";

/** Whose blocks are counted: the code that parses, ours and the libraries' under it. The harness itself and the test runner are not. */
const WATCHED = ["/schemas/src/", "/he/src/", "/runtime/src/", "/avsc/lib/", "/zod/v4/", "/test/fuzz/mutants"];

/**
 * V8's own block counters. Functions that were compiled before it started are counted as a whole, so import what is watched later.
 */
export class BlockProfiler implements Disposable {
  readonly #session = new Session();

  constructor() {
    // Optimised code counts not every call, and when it takes over is up to another thread: the same seed would give other counts.
    for (const flag of ["--no-opt", "--no-maglev"]) setFlagsFromString(flag);
    this.#session.connect();
    this.#session.post("Profiler.enable");
    this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** What ran since the last call. */
  take(): BlockCounts[] {
    let scripts: Profiler.ScriptCoverage[] = [];
    // On the same thread the answer comes before `post` returns.
    this.#session.post("Profiler.takePreciseCoverage", (error, answer) => {
      if (error !== null) throw error;
      scripts = answer.result;
    });
    return scripts
      .filter(({ url }) => WATCHED.some((part) => url.includes(part)))
      .flatMap(({ url, functions }) => functions.map(({ ranges }) => ({ id: `${url}:${ranges[0]!.startOffset}`, ranges })));
  }

  [Symbol.dispose](): void {
    this.#session.disconnect();
  }
}

/** A function's blocks, outer before inner. A block is left out where its count is that of the block around it. */
export type BlockCounts = { readonly id: string; readonly ranges: readonly Profiler.CoverageRange[] };

/** What a target's inputs have reached so far: for each block, how often, to the next power of two. */
export class CoverageMap {
  /** By function, where its blocks begin, as far as any report has told. */
  readonly #blocks = new Map<string, Set<number>>();
  readonly #reached = new Set<string>();
  readonly #covered = new Set<string>();

  /** Blocks that ran at least once. */
  get covered(): number {
    return this.#covered.size;
  }

  /** Whether an input did what none did before, what it did (equal texts for the same), and how many blocks it ran through. */
  add(functions: readonly BlockCounts[]): { fresh: boolean; path: string; work: number } {
    const before = this.#reached.size;
    const path: string[] = [];
    let work = 0;
    for (const { id, ranges } of functions) {
      const blocks = this.#blocks.get(id) ?? new Set<number>();
      this.#blocks.set(id, blocks);
      for (const { startOffset, count } of ranges) {
        blocks.add(startOffset);
        work += count;
      }
      for (const block of blocks) {
        const count = ranges.findLast(({ startOffset, endOffset }) => startOffset <= block && block < endOffset)?.count ?? 0;
        path.push(`${id} ${block} ${Math.ceil(Math.log2(count + 1))}`);
        if (count > 0) this.#covered.add(`${id} ${block}`);
      }
    }
    for (const step of path) this.#reached.add(step);
    return { fresh: this.#reached.size > before, path: path.join(), work };
  }
}
