import type { Params } from "@smile/he/params";
import { type Residues, residueAt } from "@smile/he/residues";

/**
 * What a plant could do to a reply that was not sanitised: c1 of the product is c1 of the batch times the weights, so their
 * quotient at F roots of X^N + 1 is the weight polynomial at F points, and interpolation gives its F coefficients.
 * @param batch c1 of the batch, in coefficient form
 * @param reply c1 of the reply
 * @returns F integers in (-q/2, q/2): the weights, if the reply was not sanitised
 */
export function quotientAttack(batch: Residues, reply: Residues, featureCount: number, { n, q }: Params): bigint[] {
  const mod = (x: bigint) => ((x % q) + q) % q;
  const power = (base: bigint, exponent: bigint): bigint => {
    let result = 1n;
    for (let b = mod(base), e = exponent; e > 0n; e >>= 1n, b = (b * b) % q) if (e & 1n) result = (result * b) % q;
    return result;
  };
  const inverse = (x: bigint) => power(x, q - 2n);
  const evaluate = (polynomial: Residues, at: bigint) => {
    let value = 0n;
    for (let i = n - 1; i >= 0; i--) value = (value * at + residueAt(polynomial, i)) % q;
    return value;
  };
  let root = 0n;
  for (let g = 2n; power(root, BigInt(n)) !== q - 1n; g++) root = power(g, (q - 1n) / BigInt(2 * n));

  const points: bigint[] = [];
  const values: bigint[] = [];
  for (let i = 0; points.length < featureCount; i++) {
    const point = power(root, BigInt(2 * i + 1));
    const below = evaluate(batch, point);
    if (below === 0n) continue;
    points.push(point);
    values.push((evaluate(reply, point) * inverse(below)) % q);
  }
  // Newton's divided differences, then the coefficients by Horner's rule on polynomials.
  for (let k = 1; k < featureCount; k++) {
    for (let i = featureCount - 1; i >= k; i--) values[i] = mod((values[i]! - values[i - 1]!) * inverse(mod(points[i]! - points[i - k]!)));
  }
  let coefficients: bigint[] = [];
  for (let k = featureCount - 1; k >= 0; k--) {
    const shifted = [0n, ...coefficients];
    coefficients = shifted.map((c, i) => mod(c - points[k]! * (coefficients[i] ?? 0n)));
    coefficients[0] = mod(coefficients[0]! + values[k]!);
  }
  // The head polynomial has the weights reversed.
  return coefficients
    .slice(0, featureCount)
    .toReversed()
    .map((c) => (c > q / 2n ? c - q : c));
}
