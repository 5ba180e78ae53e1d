import { randomFillSync } from "node:crypto";
import { scorePosition } from "./lanes.ts";
import { addInto, type Residues, residueAt, setResidue } from "./residues.ts";
import type { CiphertextResidues } from "./wire.ts";

/**
 * Reply sanitising. Without it a reply gives the model away: c1 of the product over c1 of the input is the weight polynomial. A
 * fresh public-key encryption of zero hides that; noise t * e with e uniform in [-2^floodBits, 2^floodBits] at each score
 * position covers what the remaining noise says about the weights.
 */

/** An encryption of zero in coefficient form, as one buffer that moves between threads: [2N] words of c0, then [2N] of c1. */
export type Sanitiser = Uint32Array<ArrayBuffer>;

export function toSanitiser({ c0, c1 }: CiphertextResidues): Sanitiser {
  const words = new Uint32Array(c0.length + c1.length);
  words.set(c0);
  words.set(c1, c0.length);
  return words;
}

/**
 * Adds bias, sanitiser and flooding to a product, in place. A sanitiser must never serve twice.
 * @param product in coefficient form
 * @param lanes occupied lanes: only their score positions leave the service
 */
export function finishScore(
  product: CiphertextResidues,
  sanitiser: Sanitiser,
  {
    bias,
    lanes,
    featureCount,
    floodBits,
    q,
    t,
  }: { bias: number; lanes: readonly number[]; featureCount: number; floodBits: number; q: bigint; t: number },
): void {
  const half = sanitiser.length / 2;
  addInto(product.c1, sanitiser.subarray(half), q);
  const flood = floodingNoise(lanes.length, floodBits);
  const zero: Residues = sanitiser.subarray(0, half);
  lanes.forEach((lane, i) => {
    const position = scorePosition(lane, featureCount);
    const sum = residueAt(product.c0, position) + residueAt(zero, position) + BigInt(bias) + BigInt(t) * flood[i]!;
    setResidue(product.c0, position, sum, q);
  });
}

/** `count` integers, uniform in [-2^bits, 2^bits] but for a bias below 2^-20 against its upper end. */
function floodingNoise(count: number, bits: number): bigint[] {
  const random = randomFillSync(new BigUint64Array(count));
  const width = 2n ** BigInt(bits + 1) + 1n;
  return Array.from(random, (value) => (value % width) - 2n ** BigInt(bits));
}
