import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { type Change, type CompareOptions, compareResults, middleOf } from "./compare.ts";
import { type BenchResult, parseResult } from "./result.ts";
import { openWorktree } from "./worktree.ts";

const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

export type RevisionRun = {
  readonly root: string;
  readonly bench: string;
  readonly revision: string;
  /** Turns that each revision gets; at least 1. */
  readonly rounds: number;
  /** Options for the runs, as on the command line. */
  readonly options: readonly string[];
  readonly say: (line: string) => void;
};

/**
 * Measures another revision and this checkout in turns, each turn in a process of its own, and takes the middle of the factors of the
 * rounds: what disturbs the machine for longer than a turn disturbs both.
 * @returns the changes from the revision to this checkout, and the last result of this checkout
 * @throws {PipelineError} CONFIG_INVALID for a revision that git does not know
 */
export function compareRevisions(
  { root, bench, revision, rounds, options, say }: RevisionRun,
  compare: CompareOptions,
): { changes: Change[]; head: BenchResult; commit: string } {
  using other = openWorktree(root, revision);
  const comparisons: Change[][] = [];
  let head: BenchResult | undefined;
  for (let round = 0; round < rounds; round++) {
    say(`round ${round + 1} of ${rounds}: ${other.commit.slice(0, 12)}, then this checkout`);
    const base = runIn(other.folder, bench, options);
    head = runIn(root, bench, options);
    comparisons.push(compareResults(base, head, compare));
  }
  return { changes: middleOf(comparisons, compare.threshold), head: head!, commit: other.commit };
}

function runIn(folder: string, bench: string, options: readonly string[]): BenchResult {
  const { status, stdout } = spawnSync(process.execPath, [join(folder, "bench", "main.ts"), bench, "--json", ...options], {
    cwd: folder,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: MAX_OUTPUT_BYTES,
  });
  if (status !== 0) throw new Error(`bench ${bench} in ${folder} ended with status ${status}`);
  return parseResult(stdout.trimEnd().split("\n").at(-1)!, `the output of bench ${bench} in ${folder}`);
}
