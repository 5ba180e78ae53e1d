import type { FeatureSet, Row } from "@smile/features/spec";
import { WindowStream } from "@smile/features/window-stream";
import { type RemainingLifeMetrics, remainingLifeMetrics } from "./metrics.ts";
import { integerScores, type QuantisedHead } from "./quantise-head.ts";

/** A machine whose record was cut off, and what it had left after its last row, in the head's unit. */
export type CutOffMachine = { readonly machine: string; readonly rows: Iterable<Row>; readonly remaining: number };

/** `withoutWindow`: machines with too few rows for any window; no metric covers them. */
export type RemainingLifeEvaluation = RemainingLifeMetrics & { readonly machines: number; readonly withoutWindow: number };

/**
 * Judges the integer head by the last window of each machine: the plaintext twin of what is scored under encryption, through the
 * code that the edge runs.
 * @param limits `cap` and `horizon` as in `remainingLifeMetrics`
 * @param asRead what the plant reads of an integer score; by default the score
 */
export function evaluateRemainingLife(
  featureSet: FeatureSet,
  head: QuantisedHead,
  machines: readonly CutOffMachine[],
  limits: { cap: number; horizon: number },
  asRead: (score: number) => number = (score) => score,
): RemainingLifeEvaluation {
  const stream = new WindowStream(featureSet);
  const predicted: number[] = [];
  const truth: number[] = [];
  for (const { machine, rows, remaining } of machines) {
    const windows = [];
    for (const row of rows) windows.push(...stream.push(row));
    windows.push(...stream.flush(machine));
    stream.forget(machine);
    const last = windows.at(-1);
    if (!last) continue;
    predicted.push(asRead(integerScores(head, last.features)[0]!) * head.scale);
    truth.push(remaining);
  }
  const metrics = remainingLifeMetrics(predicted, truth, limits);
  return { ...metrics, machines: machines.length, withoutWindow: machines.length - predicted.length };
}
