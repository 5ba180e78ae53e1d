import { type Change, type CompareOptions, compareResults, confirmed, isWorse } from "./compare.ts";
import type { BenchResult } from "./result.ts";

/** Runs after which a regression counts: noise only ever makes things slower, and not every time. */
const ATTEMPTS = 3;

/**
 * Compares a bench with its baseline, and measures again while anything looks worse.
 * @param measure runs the bench
 * @returns the best of each figure
 */
export async function checkAgainst(
  baseline: BenchResult,
  measure: () => Promise<BenchResult>,
  options: CompareOptions = {},
): Promise<Change[]> {
  const comparisons: Change[][] = [];
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    comparisons.push(compareResults(baseline, await measure(), options));
    const changes = confirmed(comparisons);
    if (!changes.some(isWorse)) return changes;
  }
  return confirmed(comparisons);
}
