import { featureCount } from "./feature-count.ts";
import type { FeatureSet } from "./spec.ts";

/** Largest absolute value of a feature of so many bits: symmetric, so that -x is a feature whenever x is. */
export function largestFeature(bits: number): number {
  return 2 ** (bits - 1) - 1;
}

/**
 * What one unit of each integer feature stands for: feature j of a window is `features[j] * steps[j]`.
 * Standardised features reach `clip`; a random Fourier feature sqrt(2) cos(.) reaches sqrt(2).
 * @returns [F], positive
 */
export function quantisationSteps(spec: Pick<FeatureSet, "lift" | "sensors" | "fourier" | "standardise" | "quantise">): Float64Array {
  const width = featureCount(spec);
  const base = width - (spec.fourier?.width ?? 0);
  const largest = largestFeature(spec.quantise.bits);
  return new Float64Array(width).fill(spec.standardise.clip / largest, 0, base).fill(Math.SQRT2 / largest, base);
}
