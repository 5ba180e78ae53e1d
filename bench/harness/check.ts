import { type Change, type CompareOptions, compareResults, isWorse, middleOf } from "./compare.ts";
import type { BenchResult } from "./result.ts";

/** Runs after which a regression counts. */
const ATTEMPTS = 3;

/**
 * Compares a bench with its baseline, and measures again while anything looks worse.
 * @param measure runs the bench
 * @returns the middle of each figure over the runs
 */
export async function checkAgainst(
  baseline: BenchResult,
  measure: () => Promise<BenchResult>,
  options: CompareOptions = {},
): Promise<Change[]> {
  const comparisons: Change[][] = [];
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    comparisons.push(compareResults(baseline, await measure(), options));
    const changes = middleOf(comparisons, options.threshold);
    if (!changes.some(isWorse)) return changes;
  }
  return middleOf(comparisons, options.threshold);
}
