import type { BenchResult, Measurement } from "./result.ts";
import { median } from "./statistics.ts";

/** From here on a change for the worse is called a regression. */
export const REGRESSION = 1.2;
/** A factor of exactly 1.2 may come out of doubles a little below. */
const ROUNDING = 1e-9;

/** One figure in two runs. */
export type Change = {
  readonly name: string;
  readonly unit: string;
  readonly base: number;
  readonly head: number;
  /**
   * head / base: above 1 is worse. Times are compared as multiples of the calibration loop of their own run, so it is not
   * the quotient of the two columns when the machine was slower in one of the runs. Null when one run lacks the figure.
   */
  readonly factor: number | null;
  /** `unjudged`: a time by the clock on the wall, which whatever else runs lengthens, or a part of what is judged as a whole. */
  readonly verdict: "same" | "better" | "regression" | "missing" | "unjudged";
};

export type CompareOptions = {
  /** Regression from this factor on; default 1.2. */
  readonly threshold?: number;
  /** Multiplies what `head` measured: proves that a slow-down of this size is reported. */
  readonly plantedSlowdown?: number;
};

/**
 * Every figure of the base beside that of the head. What the head measured besides is left out: there is nothing to compare it with.
 * A figure that the head lacks is told as missing, so that a regression cannot hide by losing its name.
 */
export function compareResults(base: BenchResult, head: BenchResult, options: CompareOptions = {}): Change[] {
  const { threshold = REGRESSION, plantedSlowdown = 1 } = options;
  const found = new Map(head.measurements.map((measurement) => [measurement.name, measurement]));
  return base.measurements.map((before): Change => {
    const after = found.get(before.name);
    const common = { name: before.name, unit: before.unit, base: before.median };
    if (after === undefined || after.unit !== before.unit) return { ...common, head: Number.NaN, factor: null, verdict: "missing" };
    const factor = (comparable(after) * plantedSlowdown) / comparable(before);
    const verdict = isJudged(before) && isJudged(after) ? verdictOn(factor, threshold) : "unjudged";
    return { ...common, head: after.median * plantedSlowdown, factor, verdict };
  });
}

/** The middle of repeated comparisons, figure by figure, so that a disturbance of one run passes; the columns are medians, too. */
export function middleOf(comparisons: readonly (readonly Change[])[], threshold = REGRESSION): Change[] {
  const [first = []] = comparisons;
  return first.map((change): Change => {
    const rounds = comparisons.map((changes) => changes.find(({ name }) => name === change.name)!);
    const factors = rounds.flatMap(({ factor }) => (factor === null ? [] : [factor]));
    if (factors.length < rounds.length) return { ...change, factor: null, verdict: "missing" };
    const factor = median(factors);
    return {
      ...change,
      base: median(rounds.map(({ base }) => base)),
      head: median(rounds.map(({ head }) => head)),
      factor,
      verdict: change.verdict === "unjudged" ? "unjudged" : verdictOn(factor, threshold),
    };
  });
}

/** Whether a command that compares should fail. */
export function isWorse({ verdict }: Change): boolean {
  return verdict === "regression" || verdict === "missing";
}

function verdictOn(factor: number, threshold: number): Change["verdict"] {
  if (factor >= threshold - ROUNDING) return "regression";
  return factor <= 1 / threshold + ROUNDING ? "better" : "same";
}

const isJudged = ({ clock, isPart }: Measurement) => clock !== "wall" && !isPart;
const comparable = ({ calibrated, median }: Measurement) => calibrated ?? median;
