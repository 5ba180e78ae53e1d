import { PipelineError } from "@smile/errors/pipeline-error";
import { bitPackedLength, packBits, unpackBits } from "./bit-packing.ts";
import { checkLanes, scorePosition } from "./lanes.ts";
import type { Params } from "./params.ts";
import { pick, type Residues } from "./residues.ts";
import type { CiphertextResidues } from "./wire.ts";

/**
 * A reply under the modulus Q = 2^bits: c1 [N], then c0 at the score positions of the occupied lanes, in lane order, each round(c k Q / q)
 * modulo Q with k = (q - 1) / t. Since k / q = 1/t - 1/(t q), that is round(((c mod t) - c / q) Q / t): no product of long numbers.
 */

/** Residues on their way to their bytes; used over and over. */
let scratch = new Float64Array(0);

/** Exact bytes of a switched reply for `lanes` occupied lanes and one output. */
export function switchedReplyLength({ n }: Params, bits: number, lanes: number): number {
  return bitPackedLength(n + lanes, bits);
}

/**
 * @param ciphertext a finished score in coefficient form: what is left out here was sanitised and flooded before
 * @param lanes occupied lanes, ascending
 * @throws {PipelineError} LANES_INVALID
 */
export function encodeSwitchedReply(
  params: Params,
  bits: number,
  { c0, c1 }: CiphertextResidues,
  lanes: readonly number[],
  featureCount: number,
): Uint8Array {
  checkLanes(lanes, params.n, featureCount);
  const picked = pick(
    c0,
    lanes.map((lane) => scorePosition(lane, featureCount)),
  );
  const count = params.n + lanes.length;
  if (scratch.length < count) scratch = new Float64Array(count);
  const values = scratch.subarray(0, count);
  switchInto(values.subarray(0, params.n), c1, params, bits);
  switchInto(values.subarray(params.n), picked, params, bits);
  return packBits(values, bits);
}

/**
 * @returns c1 [N] and c0 [lanes] modulo 2^bits
 * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE, LANES_INVALID
 */
export function decodeSwitchedReply(
  params: Params,
  bits: number,
  bytes: Uint8Array,
  lanes: readonly number[],
  featureCount: number,
): { c0: Float64Array; c1: Float64Array } {
  checkLanes(lanes, params.n, featureCount);
  const expected = switchedReplyLength(params, bits, lanes.length);
  if (bytes.length !== expected) {
    const what = `the reply has ${bytes.length} bytes; ${lanes.length} scores of ${bits} bits ask for ${expected}`;
    throw new PipelineError("FRAME_WRONG_LENGTH", what, { length: bytes.length, expected });
  }
  const values = unpackBits(bytes, params.n + lanes.length, bits);
  if (values === undefined) throw new PipelineError("RESIDUE_OUT_OF_RANGE", "the padding behind the last residue is not zero", { bits });
  return { c1: values.subarray(0, params.n), c0: values.subarray(params.n) };
}

/** @param into [count] whole numbers from 0 to 2^bits - 1 */
function switchInto(into: Float64Array, residues: Residues, { q, t }: Params, bits: number): void {
  const modulus = 2 ** bits;
  const scale = modulus / t;
  const perQ = 1 / Number(q);
  const lowMask = t >= 2 ** 32 ? 0xffffffff : t - 1;
  const highMask = t > 2 ** 32 ? t / 2 ** 32 - 1 : 0;
  for (let i = 0; i < into.length; i++) {
    const low = residues[2 * i]!;
    const high = residues[2 * i + 1]!;
    const modT = ((low & lowMask) >>> 0) + (high & highMask) * 2 ** 32;
    const value = Math.round((modT - (high * 2 ** 32 + low) * perQ) * scale);
    // From -Q/t to Q: once around at most.
    into[i] = value < 0 ? value + modulus : value >= modulus ? value - modulus : value;
  }
}
