import { LOG2_SHARED_TAIL, TERNARY_VARIANCE } from "./noise.ts";
import type { Params } from "./params.ts";

/**
 * Replies under a smaller modulus Q = 2^bits (decision 13). A BGV reply (c0, c1) has c0 + c1 s = m + t e modulo q, with q = 1 mod t.
 * Times (q - 1) / t, which is -1/t modulo q, that is m (q - 1) / t - e: the message is on top and the noise below it. Scaled by Q / q
 * and rounded coefficient by coefficient, the plant reads, in units of the score,
 *   m  -  e t / q  -  m / q  +  (r0 + sum of r_j s_i) t / Q,     with each rounding error |r| <= 1/2.
 */
export type ReplyForm = {
  /** Residues of a reply are modulo 2^bits. */
  readonly bits: number;
  /**
   * A power of two. Decrypted scores are multiples of it, next to the exact score: 1 means that they are the exact score. Above 1 the
   * step is never smaller than the noise of a decryption, since finer values would tell of the secret key.
   */
  readonly step: number;
};

/** Sums of 4096 residues of 41 bits stay within 2^53, so the plant computes them exactly in doubles. */
export const LARGEST_REPLY_BITS = 41;

/** Rounding happens in doubles: the value before it is right to 2^-11, for residues of at most 41 bits (52 bits of mantissa). */
const ROUNDING_ERROR = 0.5 + 2 ** -11;

/**
 * Bound on |r0 + sum of r_j s_i|, in units of Q, with failure probability at most 2^-130. c1, and so its rounding errors, is a function of
 * the public polynomial a, of the gateways' and the sanitiser's randomness and of the head, none of which depends on the secret key: the
 * sum over s, N independent ternary coefficients, is subgaussian with variance proxy 2/3 * sum of r_j^2 <= N / 6, whatever c1 is. (Taken
 * over c1 as well, its deviation is about sqrt(N / 18), 10.7 at N = 2048: 23 times smaller than the bound. At worst it is N / 2.)
 */
export function roundingBound(n: number): number {
  const proxy = TERNARY_VARIANCE * n * ROUNDING_ERROR ** 2;
  return Math.sqrt(2 * proxy * Math.LN2 * (1 - LOG2_SHARED_TAIL)) + ROUNDING_ERROR;
}

/** What rounding leaves of half a step for (t |e| + |m|) / q, the noise under q, in units of the score. Not above 0 when it leaves nothing. */
export function noiseLeft({ n, t }: Pick<Params, "n" | "t">, { bits, step }: ReplyForm): number {
  return step / 2 - (roundingBound(n) * t) / 2 ** bits;
}

/** The fewest bits with which rounding leaves anything; undefined when more than 41 would be needed. */
export function leastReplyBits({ n, t }: Pick<Params, "n" | "t">, step: number): number | undefined {
  const bits = Math.max(1, Math.floor(Math.log2((2 * roundingBound(n) * t) / step)) + 1);
  return bits <= LARGEST_REPLY_BITS ? bits : undefined;
}
