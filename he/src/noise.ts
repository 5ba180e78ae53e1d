/**
 * The tail bound behind "a decrypted score equals the integer dot product, or the plan was refused".
 *
 * SEAL's errors e are centred binomial: 42 fair bits, 21 counted up and 21 down, so subgaussian with variance proxy 42/4.
 * Its secrets s and u are uniform on {-1, 0, 1}: strictly subgaussian with proxy 2/3 (compare the series of
 * 1/3 + 2/3 cosh x with that of exp(x^2/3)). One coefficient of the noise of a public-key encryption times a plaintext w is
 *   Z = e0*w + e1*(s*w) - e*(u*w),
 * linear in the errors once s and u are fixed, with a variance that depends on s*w and u*w. For a head w whose spectrum is
 * uneven that variance strays far from its mean, so the mean must not be used. Instead the moment-generating function is bounded
 * exactly: E exp(x Z) <= exp(x^2 a |w|^2 / 2) * prod_i (1 - x^2 a b m_i)^(-1/2) for each product of two random polynomials, where
 * a, b are the proxies and m_i = |w(z_i)|^2 over the N complex roots z_i of X^N + 1 (decoupling with a Gaussian vector; the
 * matrix of "times w" is normal with these eigenvalues). Chernoff's bound on that is what is used.
 */

/** Variance proxy of one coefficient of SEAL's centred binomial error (util/rlwe.cpp, sample_poly_cbd): 42 bits of 1/4 each. */
export const ERROR_VARIANCE = 42 / 4;
/** Variance proxy of one ternary coefficient. */
export const TERNARY_VARIANCE = 2 / 3;
/** Every tail is bounded at this probability; two tails are used per score, which makes 2^-128 per decrypted coefficient. */
export const LOG2_TAIL_PROBABILITY = -129;
/** With switched replies a third tail comes in, that of their rounding: three of 2^-130 are below 2^-128. */
export const LOG2_SHARED_TAIL = -130;

/** Squared absolute values of a plaintext at the N complex roots of X^N + 1. `coefficients` has at most N entries. */
export function spectrum(coefficients: ArrayLike<number>, n: number): Float64Array {
  const squares = new Float64Array(n);
  // The roots come in conjugate pairs, on which a real polynomial has equal absolute values.
  for (let i = 0; i < n / 2; i++) {
    const angle = ((2 * i + 1) * Math.PI) / n;
    const zr = Math.cos(angle);
    const zi = Math.sin(angle);
    let re = 0;
    let im = 0;
    for (let k = coefficients.length - 1; k >= 0; k--) {
      const next = re * zr - im * zi + coefficients[k]!;
      im = re * zi + im * zr;
      re = next;
    }
    squares[i] = squares[n - 1 - i] = re * re + im * im;
  }
  return squares;
}

/** What the tail of the noise depends on: |w|^2, and |w(z_i)|^2 where products of two random polynomials occur (empty if none). */
export type NoiseShape = { readonly norm2: number; readonly spectrum: Float64Array };

/**
 * The bound B with P(|Z| > B) <= 2^log2Tail for one coefficient of the noise, in units of the error (multiply by t for BGV).
 * @param shape of the plaintext that multiplies the ciphertext
 * @param merges ciphertexts added before the multiplication, each a public-key encryption; at least 1
 */
export function tailBound({ norm2, spectrum: squares }: NoiseShape, merges: number, log2Tail = LOG2_TAIL_PROBABILITY): number {
  const a = ERROR_VARIANCE * merges;
  let largest = 0;
  for (const square of squares) largest = Math.max(largest, square);
  const tail = Math.LN2 * (1 - log2Tail);
  const bound = (x: number) => {
    let log = (x * x * a * norm2) / 2;
    // Two products of random polynomials: (sum of e1) * s and e * (sum of u). Their proxies multiply to the same number.
    for (const square of squares) log -= Math.log1p(-x * x * a * TERNARY_VARIANCE * square);
    return (log + tail) / x;
  };
  // bound() is quasi-convex on (0, limit): golden-section search. Any x gives a valid bound; the best one is only tighter.
  const limit = largest > 0 ? 1 / Math.sqrt(a * TERNARY_VARIANCE * largest) : 4 * Math.sqrt((2 * tail) / (a * norm2));
  let low = 0;
  let high = limit;
  const ratio = (Math.sqrt(5) - 1) / 2;
  for (let i = 0; i < 60; i++) {
    const left = high - ratio * (high - low);
    const right = low + ratio * (high - low);
    if (bound(left) < bound(right)) high = right;
    else low = left;
  }
  return bound((low + high) / 2);
}
