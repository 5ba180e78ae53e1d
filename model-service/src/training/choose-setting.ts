/** One setting that cross-validation tried; `bandwidth` and `seed` are null without a Fourier lift. Lower `loss` is better. */
export type CvEntry = {
  readonly bandwidth: number | null;
  readonly seed: number | null;
  readonly penalty: number;
  /** Mean over all held-out windows; for remaining life the root of the mean squared error. */
  readonly loss: number;
};

/** An entry with what the choice needs. */
export type CvTrial = CvEntry & {
  /** Held-out loss of each run, summed over its windows. */
  readonly perRun: Float64Array;
};

/** The entry alone, fit for JSON. */
export function entryOf({ bandwidth, seed, penalty, loss }: CvEntry): CvEntry {
  return { bandwidth, seed, penalty, loss };
}

/**
 * The one-standard-error rule (Breiman et al., "Classification and Regression Trees", 1984; Hastie, Tibshirani and Friedman, 7.10):
 * of the settings that the runs cannot tell from the best, the one with the largest penalty, then with the smoothest kernel. The
 * error is that of the paired difference, run by run, since windows of one run are not independent. Smaller weights also need a
 * smaller plaintext modulus.
 * @param entries at least one, all over the same runs
 */
export function chooseSetting<T extends CvTrial>(entries: readonly T[]): T {
  const best = entries.reduce((least, entry) => (entry.loss < least.loss ? entry : least));
  return entries.filter((entry) => withinOneError(entry.perRun, best.perRun)).reduce((a, b) => (simpler(b, a) ? b : a));
}

function withinOneError(perRun: Float64Array, best: Float64Array): boolean {
  const runs = perRun.length;
  const differences = perRun.map((loss, i) => loss - best[i]!);
  const mean = differences.reduce((sum, value) => sum + value, 0) / runs;
  if (mean <= 0) return true;
  const variance = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, runs - 1);
  return mean <= Math.sqrt(variance / runs);
}

function simpler(a: CvEntry, b: CvEntry): boolean {
  return (b.penalty - a.penalty || (a.bandwidth ?? 0) - (b.bandwidth ?? 0) || a.loss - b.loss) < 0;
}
