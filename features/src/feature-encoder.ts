import { liftWidth } from "./feature-count.ts";
import { largestFeature } from "./quantisation-steps.ts";
import { type Projection, project, projection } from "./random-fourier.ts";
import type { FeatureSet } from "./spec.ts";

type EncoderSpec = Pick<FeatureSet, "lift" | "sensors" | "standardise" | "fourier" | "quantise">;

/** The second half of the way of a window: lifted vector -> standardise, clip -> random Fourier features -> integers. Stateless. */
export class FeatureEncoder {
  readonly #width: number;
  readonly #mean: Float64Array;
  readonly #perDeviation: Float64Array;
  readonly #clip: number;
  readonly #perStep: number;
  readonly #largest: number;
  readonly #projection: Projection | null;
  readonly #standardised: Float64Array;
  readonly #angles: Float64Array;

  /** @param spec a checked feature set (see check-feature-set.ts) */
  constructor(spec: EncoderSpec) {
    this.#width = liftWidth(spec.lift, spec.sensors.length);
    this.#mean = Float64Array.from(spec.standardise.mean);
    this.#perDeviation = Float64Array.from(spec.standardise.deviation, (deviation) => 1 / deviation);
    this.#clip = spec.standardise.clip;
    this.#largest = largestFeature(spec.quantise.bits);
    this.#perStep = this.#largest / this.#clip;
    this.#projection = spec.fourier ? projection(spec.fourier, this.#width) : null;
    this.#standardised = new Float64Array(this.#width);
    this.#angles = new Float64Array(spec.fourier?.width ?? 0);
  }

  /**
   * @param lifted [lift width], finite
   * @param out [F] at least from `offset` on; receives integers in [-(2^(bits-1) - 1), 2^(bits-1) - 1]
   * @returns how many features stand at a bound because they were clipped to it
   */
  encode(lifted: Float64Array, out: Int32Array | Int16Array | Int8Array, offset = 0): number {
    const clip = this.#clip;
    const standardised = this.#standardised;
    let clipped = 0;
    for (let j = 0; j < this.#width; j++) {
      let value = (lifted[j]! - this.#mean[j]!) * this.#perDeviation[j]!;
      if (value >= clip) {
        value = clip;
        clipped++;
      } else if (value <= -clip) {
        value = -clip;
        clipped++;
      }
      standardised[j] = value;
      out[offset + j] = Math.round(value * this.#perStep);
    }
    if (this.#projection) {
      const angles = this.#angles;
      project(this.#projection, this.#width, standardised, angles);
      // sqrt(2) cos(angle) divided by its step sqrt(2) / largest.
      for (let k = 0; k < angles.length; k++) out[offset + this.#width + k] = Math.round(Math.cos(angles[k]!) * this.#largest);
    }
    return clipped;
  }
}
