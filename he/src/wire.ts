import { PipelineError } from "@smile/errors/pipeline-error";
import { checkLanes, scorePosition } from "./lanes.ts";
import { type KeyMode, type Params, residueBits } from "./params.ts";
import { addInto, pack, packedLength, pick, type Residues, spread, unpack } from "./residues.ts";

/**
 * Ciphertexts on the wire. Residues are bit-packed, never compressed, and every length follows from the parameters:
 *   full    (public mode, batches)  c0 [N] then c1 [N]
 *   seeded  (symmetric mode)        c0 [N] then the 64-byte seed from which SEAL expands c1
 *   reply                           c1 [N] then c0 at the score positions of the occupied lanes, in lane order
 * Frames are in the domain in which SEAL keeps BGV ciphertexts (NTT); replies are in coefficient form, since single
 * coefficients are picked. What a reply leaves out of c0 hides every partial sum.
 */

/** Bytes of SEAL's seed (prng_seed_byte_count). */
export const SEED_BYTES = 64;

/** A ciphertext (c0, c1), each [2N] words. */
export type CiphertextResidues = { readonly c0: Residues; readonly c1: Residues };
/** A ciphertext whose c1 is still a seed. */
export type SeededResidues = { readonly c0: Residues; readonly seed: Uint8Array };

/** Exact bytes of a frame's ciphertext. */
export function frameLength(params: Params, keyMode: KeyMode): number {
  const polynomial = packedLength(params.n, residueBits(params));
  return keyMode === "public" ? 2 * polynomial : polynomial + SEED_BYTES;
}

/** Exact bytes of a reply for `lanes` occupied lanes and one output. */
export function replyLength(params: Params, lanes: number): number {
  return packedLength(params.n, residueBits(params)) + packedLength(lanes, residueBits(params));
}

export function encodeFull(params: Params, { c0, c1 }: CiphertextResidues): Uint8Array {
  return concat(pack(c0, residueBits(params)), pack(c1, residueBits(params)));
}

export function encodeSeeded(params: Params, { c0, seed }: SeededResidues): Uint8Array {
  return concat(pack(c0, residueBits(params)), seed);
}

/**
 * @param into what takes the residues; default: new arrays
 * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE
 */
export function decodeFull(params: Params, bytes: Uint8Array, into?: CiphertextResidues): CiphertextResidues {
  const half = checkLength(bytes, frameLength(params, "public")) / 2;
  const { n, q } = params;
  return { c0: unpack(bytes.subarray(0, half), n, q, into?.c0), c1: unpack(bytes.subarray(half), n, q, into?.c1) };
}

/**
 * @param c0 takes the residues; default: a new array
 * @returns the seed as a view of `bytes`
 * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE
 */
export function decodeSeeded(params: Params, bytes: Uint8Array, c0?: Residues): SeededResidues {
  const split = checkLength(bytes, frameLength(params, "symmetric")) - SEED_BYTES;
  return { c0: unpack(bytes.subarray(0, split), params.n, params.q, c0), seed: bytes.subarray(split) };
}

/**
 * Refuses bytes that are no ciphertext of these parameters: what has to pass before SEAL sees them.
 * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE; CIPHERTEXT_TRANSPARENT when c1 is zero, so that c0 is the message
 */
export function checkFrame(params: Params, keyMode: KeyMode, bytes: Uint8Array): void {
  if (keyMode === "symmetric") {
    decodeSeeded(params, bytes);
    return;
  }
  const { c1 } = decodeFull(params, bytes);
  if (params.scheme === "bgv" && c1.every((word) => word === 0)) {
    throw new PipelineError("CIPHERTEXT_TRANSPARENT", "the ciphertext is not encrypted");
  }
}

/**
 * Adds full ciphertexts of one key: lanes that are disjoint stay side by side.
 * @param frames at least one, encoded with `encodeFull`
 * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE
 */
export function mergeFrames(params: Params, frames: readonly Uint8Array[]): Uint8Array {
  const [first, ...rest] = frames;
  if (first === undefined) throw new RangeError("mergeFrames needs at least one frame");
  if (rest.length === 0) return first;
  const sum = decodeFull(params, first);
  for (const frame of rest) {
    const { c0, c1 } = decodeFull(params, frame);
    addInto(sum.c0, c0, params.q);
    addInto(sum.c1, c1, params.q);
  }
  return encodeFull(params, sum);
}

/**
 * @param lanes occupied lanes, ascending
 * @throws {PipelineError} LANES_INVALID
 */
export function encodeReply(params: Params, { c0, c1 }: CiphertextResidues, lanes: readonly number[], featureCount: number): Uint8Array {
  checkLanes(lanes, params.n, featureCount);
  const picked = pick(
    c0,
    lanes.map((lane) => scorePosition(lane, featureCount)),
  );
  return concat(pack(c1, residueBits(params)), pack(picked, residueBits(params)));
}

/**
 * The ciphertext that a reply stands for, in coefficient form, with zeros where c0 was left out.
 * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE, LANES_INVALID
 */
export function decodeReply(params: Params, bytes: Uint8Array, lanes: readonly number[], featureCount: number): CiphertextResidues {
  checkLanes(lanes, params.n, featureCount);
  checkLength(bytes, replyLength(params, lanes.length));
  const split = packedLength(params.n, residueBits(params));
  const c1 = unpack(bytes.subarray(0, split), params.n, params.q);
  const picked = unpack(bytes.subarray(split), lanes.length, params.q);
  const positions = lanes.map((lane) => scorePosition(lane, featureCount));
  const c0 = spread(picked, positions, new Uint32Array(2 * params.n));
  return { c0, c1 };
}

function checkLength(bytes: Uint8Array, expected: number): number {
  if (bytes.length !== expected) {
    throw new PipelineError("FRAME_WRONG_LENGTH", `the ciphertext has ${bytes.length} bytes; these parameters ask for ${expected}`, {
      length: bytes.length,
      expected,
    });
  }
  return expected;
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const both = new Uint8Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
