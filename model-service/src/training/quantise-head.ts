import { largestFeature } from "@smile/features/quantisation-steps";
import type { LinearHead } from "./penalised-least-squares.ts";

/**
 * A head in integers. Score k in real units = (sum over f of weights[k][f] * features[f] + bias[k]) * scale.
 * `worstCase` bounds |integer score| of every output for every vector of features within their bits.
 */
export type QuantisedHead = { outputs: number; weights: number[][]; bias: number[]; scale: number; worstCase: number };

/**
 * Rounds a head that acts on features times steps to integers that act on the features. One scale for all outputs, so that their
 * integer scores can be compared.
 * @param steps [F], `quantisationSteps` of the feature set
 * @param bits of a feature
 * @param weightBits of a weight with its sign, 2 to 24; the largest weight gets all of them
 */
export function quantiseHead(
  head: LinearHead,
  steps: Float64Array,
  { bits, weightBits }: { bits: number; weightBits: number },
): QuantisedHead {
  if (!Number.isInteger(weightBits) || weightBits < 2 || weightBits > 24)
    throw new RangeError(`weightBits is ${weightBits}; it must be 2 to 24`);
  const real = head.weights.map((weights) => {
    if (weights.length !== steps.length) throw new RangeError(`${weights.length} weights for ${steps.length} features`);
    return weights.map((weight, f) => weight * steps[f]!);
  });
  const largestWeight = 2 ** (weightBits - 1) - 1;
  const largest = Math.max(...real.map((weights) => weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0)));
  // A bias that dwarfs all weights must not blow up the integers: it reaches at most what all the largest weights together can.
  const largestBias = head.bias.reduce((most, bias) => Math.max(most, Math.abs(bias)), 0);
  const exact = Math.max(largest / largestWeight, largestBias / (largestWeight * largestFeature(bits) * steps.length));
  const scale = exact > 1e-200 ? exact : 1; // smaller is zero, and divides badly
  const integer = (value: number) => Math.round(value / scale) + 0; // + 0: no negative zero in a document that is hashed
  const weights = real.map((row) => row.map(integer));
  const bias = head.bias.map(integer);
  const worst = weights.map((row, k) => row.reduce((sum, weight) => sum + Math.abs(weight), 0) * largestFeature(bits) + Math.abs(bias[k]!));
  return { outputs: weights.length, weights, bias, scale, worstCase: Math.max(...worst) };
}

/** The integer scores [outputs] of one window: what the encrypted computation must decrypt to, exactly. */
export function integerScores(head: Pick<QuantisedHead, "weights" | "bias">, features: ArrayLike<number>): number[] {
  return head.weights.map((weights, k) => {
    if (weights.length !== features.length) throw new RangeError(`${features.length} features for ${weights.length} weights`);
    let sum = head.bias[k]!;
    for (let f = 0; f < weights.length; f++) sum += weights[f]! * features[f]!;
    return sum;
  });
}
