/** The value below which a share of the numbers lies, between neighbours by linear interpolation (Hyndman and Fan's type 7). */
export function quantile(numbers: readonly number[], share: number): number {
  if (numbers.length === 0) throw new RangeError("no numbers to describe");
  const sorted = numbers.toSorted((a, b) => a - b);
  const at = share * (sorted.length - 1);
  const below = sorted[Math.floor(at)]!;
  return below + (at - Math.floor(at)) * (sorted[Math.ceil(at)]! - below);
}

export function median(numbers: readonly number[]): number {
  return quantile(numbers, 0.5);
}

/** Middle and spread of repeated measurements, robust against the few that something else disturbed. */
export type Spread = {
  readonly median: number;
  /** First and third quartile. */
  readonly q1: number;
  readonly q3: number;
  /** Median absolute deviation from the median, not scaled to a standard deviation. */
  readonly mad: number;
};

/** @throws {RangeError} when there is nothing to describe */
export function spreadOf(numbers: readonly number[]): Spread {
  const middle = median(numbers);
  return {
    median: middle,
    q1: quantile(numbers, 0.25),
    q3: quantile(numbers, 0.75),
    mad: median(numbers.map((number) => Math.abs(number - middle))),
  };
}
