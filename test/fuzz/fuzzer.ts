import { isDeepStrictEqual } from "node:util";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type ErrorCode, isPipelineError } from "@smile/errors/pipeline-error";
import { type BlockProfiler, CoverageMap } from "./coverage.ts";
import { diceOf, mutate } from "./mutate.ts";

/** Something that takes bytes from outside. */
export type Target = {
  readonly name: string;
  /** Valid inputs; the first is also given after every other one, and must come out as before. */
  readonly seeds: readonly Uint8Array[];
  /** Words of the target's language, for mutations to put in. */
  readonly words: readonly Uint8Array[];
  /** The only codes that inputs may be refused with. */
  readonly codes: readonly ErrorCode[];
  /** Takes the input, checks what must hold of whatever it was taken for, and gives that back. Throws to refuse, or when it does not hold. */
  readonly take: (input: Uint8Array) => unknown;
};

/** What an input did that none may do. */
export type Finding = {
  readonly target: string;
  /** `thrown`: no refusal of an expected code; `neighbour`: a later valid input came out changed; `work`, `memory`: too much for its length. */
  readonly kind: "thrown" | "neighbour" | "work" | "memory" | "leak";
  readonly detail: string;
  readonly input: Uint8Array;
};

export type FuzzResult = {
  readonly runs: number;
  readonly corpus: readonly Uint8Array[];
  readonly covered: number;
  readonly findings: readonly Finding[];
};

export type FuzzOptions = {
  readonly seed: number;
  readonly runs: number;
  /** False makes inputs from the seeds alone, for comparison. */
  readonly guided?: boolean;
  /** Stop at the first finding. */
  readonly untilFound?: boolean;
};

/** Blocks that an input may run through, and bytes of memory that it may take: a base, and so much per byte of it. */
const WORK = { base: 20_000, perByte: 100 };
const MEMORY = { base: 8 * 2 ** 20, perByte: 500 };
/** Memory that a whole run may leave behind, after a collection. */
const LEAK_BYTES = 16 * 2 ** 20;

/** Finds what one input does to a target. The target's first seed is taken again afterwards: `expected` is what it must give. */
export function examine(target: Target, input: Uint8Array, expected: unknown): Omit<Finding, "target" | "input"> | undefined {
  const before = memoryBytes();
  const thrown = refusalOf(target, input);
  const taken = memoryBytes() - before;
  if (thrown !== undefined) return { kind: "thrown", detail: thrown };
  if (taken > MEMORY.base + MEMORY.perByte * input.length) return { kind: "memory", detail: `took ${Math.round(taken / 2 ** 20)} MB` };
  let again: unknown;
  try {
    again = target.take(target.seeds[0]!);
  } catch (error) {
    again = error;
  }
  return isDeepStrictEqual(again, expected) ? undefined : { kind: "neighbour", detail: "a valid input after this one came out changed" };
}

/**
 * Coverage-guided fuzzing: what reaches a new block, or one more often than before, joins the corpus that further inputs are made from.
 * @returns the same for the same seed; findings at most one per kind and message, and none after a changed neighbour
 */
export function fuzz(target: Target, profiler: BlockProfiler, options: FuzzOptions): FuzzResult {
  const dice = diceOf(options.seed);
  const map = new CoverageMap();
  const corpus = [...target.seeds];
  const places = new Map<string, number>();
  const findings = new Map<string, Finding>();
  const expected = target.take(target.seeds[0]!);
  const keptBefore = collectedBytes();
  profiler.take();
  let runs = 0;
  for (; runs < options.runs; runs++) {
    const input = runs < target.seeds.length ? target.seeds[runs]! : mutate(corpus, target.seeds.length, target.words, dice);
    const problem = examine(target, input, expected);
    const { fresh, path, work } = map.add(profiler.take());
    const found =
      problem ??
      (work > WORK.base + WORK.perByte * input.length ? { kind: "work" as const, detail: `ran through ${work} blocks` } : undefined);
    if (found !== undefined) {
      const key = `${found.kind} ${found.detail.replaceAll(/\d+/g, "#")}`;
      if (!findings.has(key)) findings.set(key, { ...found, target: target.name, input: input.slice() });
      if (found.kind === "neighbour" || options.untilFound === true) break;
      continue;
    }
    if (options.guided === false || runs < target.seeds.length) continue;
    const known = places.get(path);
    if (fresh) places.set(path, corpus.push(input.slice()) - 1);
    // Of two that do the same the shorter one is kept: a mutation of it meets more often what matters.
    else if (known !== undefined && input.length < corpus[known]!.length) corpus[known] = input.slice();
  }
  const kept = collectedBytes() - keptBefore - corpus.reduce((sum, input) => sum + input.length, 0);
  if (kept > LEAK_BYTES) {
    const detail = `${runs} inputs left ${Math.round(kept / 2 ** 20)} MB behind`;
    findings.set("leak", { target: target.name, kind: "leak", detail, input: new Uint8Array(0) });
  }
  return { runs, corpus, covered: map.covered, findings: [...findings.values()] };
}

/** What went wrong when the target took an input; undefined when it took it, or refused it as it should. */
function refusalOf({ take, codes }: Target, input: Uint8Array): string | undefined {
  try {
    take(input);
  } catch (error) {
    if (isPipelineError(error) && codes.includes(error.code)) return undefined;
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
  return undefined;
}

function memoryBytes(): number {
  const { used_heap_size, external_memory } = getHeapStatistics();
  return used_heap_size + external_memory;
}

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
function collectedBytes(): number {
  collect();
  return memoryBytes();
}
