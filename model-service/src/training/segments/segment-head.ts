import { nearestSegment } from "@smile/features/records/nearest-segment";
import { integerScores, type QuantisedHead, quantiseHead } from "../quantise-head.ts";
import type { Vector } from "./nearest-centroid.ts";

/**
 * The head whose largest output is the nearest centroid: score k = 2 x.c_k - |c_k|^2 = |x|^2 - |x - c_k|^2, in integers.
 *
 * Rounding: weights w_k = round(2 c_k / scale) stand for the centroid w_k scale / 2, which is off c_k by at most h = scale / 4 in each
 * feature. The bias is that of this centroid, not of c_k, so the integer head is a true nearest-centroid rule of its own, but for
 * scale / 2 that rounding the bias may cost. It gives a record another segment than floating point does only where its two smallest
 * squared distances differ by at most `roundingGap`.
 * @param centroids [K][F] in units of the integer features
 * @param bits of a feature
 * @param weightBits of a weight with its sign; default 11
 * @returns a head in squared units of the integer features
 */
export function segmentHead(centroids: readonly Vector[], { bits, weightBits = 11 }: { bits: number; weightBits?: number }): QuantisedHead {
  const real = centroids.map((centroid) => Array.from(centroid, (value) => 2 * value));
  const norms = centroids.map((centroid) => -Array.from(centroid).reduce((sum, value) => sum + value * value, 0));
  const steps = new Float64Array(real[0]?.length ?? 0).fill(1);
  const { outputs, weights, scale } = quantiseHead({ weights: real, bias: norms }, steps, { bits, weightBits });
  const bias = weights.map((row) => -Math.round((row.reduce((sum, w) => sum + w * w, 0) * scale) / 4) + 0); // + 0: no negative zero
  const largest = 2 ** (bits - 1) - 1;
  const worst = weights.map((row, k) => row.reduce((sum, w) => sum + Math.abs(w), 0) * largest + Math.abs(bias[k]!));
  return { outputs, weights, bias, scale, worstCase: Math.max(...worst) };
}

/** The segment that the integer head gives to integer features: what the encrypted way must give, exactly. */
export function integerSegment(head: Pick<QuantisedHead, "weights" | "bias">, features: Vector): number {
  return nearestSegment(integerScores(head, features));
}

/**
 * A bound on the difference of a record's squared distances to two centroids below which rounding may swap them:
 * |x - c|^2 changes by at most 2 h |x - c|_1 + F h^2 for each, and the biases by scale / 2 each.
 */
export function roundingGap({ scale }: Pick<QuantisedHead, "scale">, features: Vector, centroids: readonly Vector[]): number {
  const h = scale / 4;
  const farthest = Math.max(
    ...centroids.map((centroid) => Array.from(centroid).reduce((sum, value, f) => sum + Math.abs(features[f]! - value), 0)),
  );
  return 2 * (2 * h * farthest + features.length * h * h) + scale;
}
