import { PipelineError } from "@smile/errors/pipeline-error";
import { CholeskyDecomposition, Matrix } from "ml-matrix";

/** A linear head in floating point: score k = sum of weights[k][f] * features[f] * steps[f] + bias[k], steps of the feature set. */
export type LinearHead = { readonly weights: readonly (readonly number[])[]; readonly bias: readonly number[] };

/** One output of a `LinearHead`. */
export type LinearOutput = { readonly weights: Float64Array; readonly bias: number };

/**
 * Minimises sum (x.w + b - y)^2 + penalty |w|^2; the bias is free. x is the integer features times their steps.
 * @param sums [F + 2][F + 2] of a `Gram` over [integer features, 1, y]
 * @param steps [F]
 * @param penalty positive, in the scale of the standardised features
 * @throws {PipelineError} TRAINING_IMPOSSIBLE when the system has no single solution in floating point
 */
export function solveRidge(sums: Float64Array, steps: Float64Array, penalty: number): LinearOutput {
  const width = steps.length;
  const columns = width + 2;
  const scale = (j: number) => (j < width ? steps[j]! : 1);
  const left = new Matrix(width + 1, width + 1);
  const right = new Matrix(width + 1, 1);
  for (let i = 0; i <= width; i++) {
    for (let j = 0; j <= width; j++) left.set(i, j, sums[i * columns + j]! * (scale(i) * scale(j)) + (i === j && i < width ? penalty : 0));
    right.set(i, 0, sums[i * columns + width + 1]! * scale(i));
  }
  const cholesky = new CholeskyDecomposition(left);
  if (!cholesky.isPositiveDefinite()) {
    throw new PipelineError(
      "TRAINING_IMPOSSIBLE",
      `a least-squares system of ${width} features with penalty ${penalty} is not positive definite`,
    );
  }
  const solution = cholesky.solve(right).to1DArray();
  return { weights: Float64Array.from(solution.slice(0, width)), bias: solution[width]! };
}

/** The weights of integer features: times their steps. */
export function perInteger(output: LinearOutput, steps: Float64Array): Float64Array {
  return output.weights.map((weight, j) => weight * steps[j]!);
}
