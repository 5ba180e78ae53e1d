import { PipelineError } from "@smile/errors/pipeline-error";

/**
 * Lanes: window w of a ciphertext owns the F consecutive coefficients from w*F. Times the head polynomial with its weights
 * reversed, the score of lane w stands at coefficient w*F + F - 1: a window's own products meet there, a neighbour's would need
 * an index difference of at least F, and the wrap-around of X^N + 1 only reaches coefficients below F - 1.
 */

/** L = floor(N / F): windows per ciphertext. */
export function laneCount(n: number, featureCount: number): number {
  return Math.floor(n / featureCount);
}

/** The coefficient at which the score of a lane stands after the multiplication. */
export function scorePosition(lane: number, featureCount: number): number {
  return lane * featureCount + featureCount - 1;
}

/**
 * Refuses lanes that are not whole numbers from 0 to L - 1, ascending and each once.
 * @throws {PipelineError} LANES_INVALID
 */
export function checkLanes(lanes: readonly number[], n: number, featureCount: number): void {
  const total = laneCount(n, featureCount);
  lanes.forEach((lane, i) => {
    if (!Number.isInteger(lane) || lane < 0 || lane >= total)
      throw new PipelineError("LANES_INVALID", `lane ${lane} is not one of ${total}`, { lane, lanes: total });
    if (i > 0 && lane <= lanes[i - 1]!) throw new PipelineError("LANES_INVALID", `lane ${lane} is not above the lane before it`, { lane });
  });
}

/** A window in its lane. `features` has F integers. */
export type LaneEntry = { readonly lane: number; readonly features: ArrayLike<number> };

/**
 * The plaintext polynomial of a frame: [N] integers, zero where no window is.
 * @throws {PipelineError} LANES_INVALID for a lane out of range, one used twice, or a window that has not F features
 */
export function packLanes(entries: Iterable<LaneEntry>, n: number, featureCount: number): Int32Array {
  const coefficients = new Int32Array(n);
  const used = new Set<number>();
  const lanes = laneCount(n, featureCount);
  for (const { lane, features } of entries) {
    if (!Number.isInteger(lane) || lane < 0 || lane >= lanes)
      throw new PipelineError("LANES_INVALID", `lane ${lane} is not one of ${lanes}`, { lane, lanes });
    if (used.has(lane)) throw new PipelineError("LANES_INVALID", `lane ${lane} holds two windows`, { lane });
    if (features.length !== featureCount) {
      throw new PipelineError("LANES_INVALID", `the window of lane ${lane} has ${features.length} features`, { lane, featureCount });
    }
    used.add(lane);
    coefficients.set(features, lane * featureCount);
  }
  return coefficients;
}

/** The plaintext polynomial of one output of a head: [N] integers, the weights reversed in the first F. */
export function headPolynomial(weights: ArrayLike<number>, n: number): Int32Array {
  const coefficients = new Int32Array(n);
  for (let f = 0; f < weights.length; f++) coefficients[weights.length - 1 - f] = weights[f]!;
  return coefficients;
}

/** A set of lanes as bytes on the wire: lane w is bit w % 8 of byte floor(w / 8); ceil(L / 8) bytes, bits from L on zero. */
export function encodeLanes(lanes: Iterable<number>, laneTotal: number): Uint8Array {
  const bits = new Uint8Array(Math.ceil(laneTotal / 8));
  for (const lane of lanes) {
    if (!Number.isInteger(lane) || lane < 0 || lane >= laneTotal)
      throw new PipelineError("LANES_INVALID", `lane ${lane} is not one of ${laneTotal}`, { lane });
    bits[lane >> 3]! |= 1 << (lane & 7);
  }
  return bits;
}

/**
 * The lanes of a set, ascending.
 * @throws {PipelineError} LANES_INVALID when the bytes have another length, name a lane from L on, or name none
 */
export function decodeLanes(bits: Uint8Array, laneTotal: number): number[] {
  if (bits.length !== Math.ceil(laneTotal / 8)) {
    throw new PipelineError("LANES_INVALID", `the lane set has ${bits.length} bytes`, { expected: Math.ceil(laneTotal / 8) });
  }
  const lanes: number[] = [];
  for (let lane = 0; lane < bits.length * 8; lane++) if ((bits[lane >> 3]! >> (lane & 7)) & 1) lanes.push(lane);
  if (lanes.length === 0) throw new PipelineError("LANES_INVALID", "the lane set is empty");
  if (lanes.at(-1)! >= laneTotal)
    throw new PipelineError("LANES_INVALID", `lane ${lanes.at(-1)} is not one of ${laneTotal}`, { laneTotal });
  return lanes;
}

/** Whether two lane sets of the same length share no lane. */
export function disjoint(a: Uint8Array, b: Uint8Array): boolean {
  return a.every((byte, i) => (byte & b[i]!) === 0);
}
