import { writeFileSync } from "node:fs";
import type { IntegerHead } from "@smile/he/planner";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

export const FEATURE_COUNT = 64;
export const FEATURE_BITS = 8;
const LARGEST_WEIGHT = 1023;
/** As many as a ciphertext of a peer at N = 16384 has slots for. */
const WINDOWS = 8192;

/** What every peer and this code score: windows of 8-bit features, one head of 11-bit weights, the exact scores. */
export type ScoredWindows = {
  /** [windows][64] integers from -127 to 127. */
  readonly features: readonly Int32Array[];
  readonly head: IntegerHead;
  /** [windows] */
  readonly scores: readonly number[];
};

/** Always the same ones. */
export function scoredWindows(): ScoredWindows {
  const random = xoroshiro128plus(20_261_122);
  const integers = (largest: number) => Int32Array.from({ length: FEATURE_COUNT }, () => uniformInt(random, -largest, largest));
  const weights = integers(LARGEST_WEIGHT);
  const features = Array.from({ length: WINDOWS }, () => integers(2 ** (FEATURE_BITS - 1) - 1));
  const scores = features.map((window) => window.reduce((sum, x, f) => sum + x * weights[f]!, 0));
  return { features, head: { weights: [weights], bias: [0] }, scores };
}

/** Writes the windows for the scripts of the peers. @param samples how often each script measures */
export function writeWindows(path: string, { features, head, scores }: ScoredWindows, samples: number): void {
  const rows = features.map((window) => Array.from(window));
  writeFileSync(path, JSON.stringify({ features: rows, weights: Array.from(head.weights[0]!), scores, samples }));
}
