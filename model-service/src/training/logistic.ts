import type { Examples } from "./examples.ts";
import { Gram } from "./gram.ts";
import { type LinearOutput, perInteger, solveRidge } from "./penalised-least-squares.ts";

/** 1 / (1 + exp(-score)). */
export function logistic(score: number): number {
  return 1 / (1 + Math.exp(-score));
}

/**
 * Minimises the negative log-likelihood + penalty / 2 |w|^2 by iteratively reweighted least squares, which is Newton's method (Hastie,
 * Tibshirani and Friedman, "The Elements of Statistical Learning", 4.4.1). The penalty keeps it finite where the classes can be
 * separated.
 * @param rows indices of the examples to learn from
 * @param positive 1 or 0 per example (all examples, not only `rows`)
 * @param start where to begin: the solution for a near penalty saves iterations
 * @throws {PipelineError} TRAINING_IMPOSSIBLE as `solveRidge`
 */
export function fitLogistic(
  examples: Pick<Examples, "features" | "steps">,
  rows: Int32Array,
  positive: Float64Array,
  penalty: number,
  start?: LinearOutput,
): LinearOutput {
  const width = examples.steps.length;
  let output = start ?? { weights: new Float64Array(width), bias: 0 };
  for (let iteration = 0; iteration < 30; iteration++) {
    const weights = perInteger(output, examples.steps);
    const gram = new Gram(width + 2);
    for (const row of rows) {
      let score = output.bias;
      for (let j = 0, at = row * width; j < width; j++, at++) score += weights[j]! * examples.features[at]!;
      const chance = logistic(score);
      const weight = Math.max(chance * (1 - chance), 1e-6); // a certain example must not divide by zero
      gram.add(examples.features, row * width, score + (positive[row]! - chance) / weight, Math.sqrt(weight));
    }
    const next = solveRidge(gram.finish().sums, examples.steps, penalty);
    let change = Math.abs(next.bias - output.bias);
    for (let j = 0; j < width; j++) change = Math.max(change, Math.abs(next.weights[j]! - output.weights[j]!));
    output = next;
    if (change < 1e-6) break;
  }
  return output;
}
