import { setImmediate as nextTurn } from "node:timers/promises";
import type { Examples } from "./examples.ts";
import { difference, Gram } from "./gram.ts";
import { perInteger, solveRidge } from "./penalised-least-squares.ts";

/**
 * For each penalty the RMSE over all held-out windows and each run's sum of squared errors; `sums` of the Gram of all windows, to
 * fit the final head from.
 */
export type RidgeValidation = { readonly losses: { loss: number; perRun: Float64Array }[]; readonly sums: Float64Array };

/**
 * k-fold cross-validation of ridge heads. One pass gathers a Gram per fold; each fold's training Gram is the total minus its own
 * (exact, since the features are integers), so penalties cost one Cholesky decomposition each. Between long steps, here and in all
 * training, timers, sockets and the terminal have their turn.
 * @param run,fold of each window, from 0 on
 * @param target of each window; predictions are limited to `range` before they are judged
 */
export async function crossValidateRidge(
  examples: Examples,
  run: Int32Array,
  fold: Int32Array,
  target: Float64Array,
  penalties: readonly number[],
  range: readonly [number, number],
): Promise<RidgeValidation> {
  const width = examples.steps.length;
  const folds = fold.reduce((most, one) => Math.max(most, one + 1), 0);
  const grams = Array.from({ length: folds }, () => new Gram(width + 2));
  for (let i = 0; i < examples.count; i++) {
    grams[fold[i]!]!.add(examples.features, i * width, target[i]!);
    if (i % 4096 === 0) await nextTurn();
  }
  const total = new Float64Array((width + 2) ** 2);
  for (const gram of grams)
    gram.finish().sums.forEach((sum, i) => {
      total[i]! += sum;
    });
  const runs = run.reduce((most, one) => Math.max(most, one + 1), 0);
  const perRun = penalties.map(() => new Float64Array(runs));
  for (let held = 0; held < folds; held++) {
    const rest = difference(total, grams[held]!.sums);
    for (const [p, penalty] of penalties.entries()) {
      const output = solveRidge(rest, examples.steps, penalty);
      const weights = perInteger(output, examples.steps);
      for (let i = 0; i < examples.count; i++) {
        if (fold[i] !== held) continue;
        let score = output.bias;
        for (let j = 0, at = i * width; j < width; j++, at++) score += weights[j]! * examples.features[at]!;
        perRun[p]![run[i]!]! += (Math.min(Math.max(score, range[0]), range[1]) - target[i]!) ** 2;
      }
      await nextTurn();
    }
  }
  const losses = perRun.map((squares) => ({ loss: Math.sqrt(squares.reduce((a, b) => a + b, 0) / examples.count), perRun: squares }));
  return { losses, sums: total };
}
