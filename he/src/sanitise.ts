import { scorePosition } from "./lanes.ts";
import { addIntegers } from "./residues.ts";
import { sampleUniform } from "./samplers.ts";
import type { CiphertextResidues } from "./wire.ts";

/**
 * Reply sanitising. Without it a reply gives the model away: c1 of the product over c1 of the input is the weight polynomial. A
 * fresh public-key encryption of zero hides that (`Evaluator.multiplySanitised`); noise t * e with e uniform in
 * [-2^floodBits, 2^floodBits) at each score position covers what the remaining noise says about the weights.
 */

/**
 * Adds bias and flooding to a sanitised product, in place.
 * @param product in coefficient form
 * @param lanes occupied lanes: only their score positions leave the service
 */
export function finishScore(
  product: CiphertextResidues,
  {
    bias,
    lanes,
    featureCount,
    floodBits,
    q,
    t,
  }: { bias: number; lanes: readonly number[]; featureCount: number; floodBits: number; q: bigint; t: number },
): void {
  const positions = lanes.map((lane) => scorePosition(lane, featureCount));
  const noise = sampleUniform(lanes.length, floodBits);
  // t is a power of two, so t times the noise is exact in a double; with the bias added it would not be.
  for (let i = 0; i < noise.length; i++) noise[i]! *= t;
  addIntegers(product.c0, positions, noise, q);
  addIntegers(product.c0, positions, noise.fill(bias), q);
}
