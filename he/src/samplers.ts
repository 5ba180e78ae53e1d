import { randomFillSync } from "node:crypto";

/**
 * The random polynomials of a public-key encryption, by the distributions that SEAL draws from (util/rlwe.cpp: `sample_poly_ternary`,
 * `sample_poly_cbd`) and that noise.ts is about, out of the operating system's generator instead of SEAL's own in WASM.
 */

/** Fills an array with random bits. */
export type RandomWords = (words: Uint32Array) => unknown;

/** Used over and over: each sampler fills what it reads of it, and nobody else sees it. */
let scratch = new Uint32Array(0);

function draw(count: number, random: RandomWords): Uint32Array {
  if (scratch.length < count) scratch = new Uint32Array(count);
  const words = scratch.subarray(0, count);
  random(words);
  return words;
}

/** Largest absolute value of an error: 21 bits counted up and 21 down. */
const LARGEST_ERROR = 21;

/** The five digits of a byte below 3^5 in base three, each less one. */
const DIGITS = Int8Array.from({ length: 5 * 243 }, (_, i) => (Math.floor(Math.floor(i / 5) / 3 ** (i % 5)) % 3) - 1);

/** Independent integers, uniform on {-1, 0, 1}: of bytes below 3^5 the digits in base three; other bytes are thrown away. */
export function sampleTernary(into: Int32Array, random: RandomWords = randomFillSync): void {
  const count = into.length;
  // 5 % of the bytes are thrown away; where an eighth more do not suffice, there are more.
  const wordCount = Math.ceil(count / 5 / 4 + count / 160);
  let bytes: Uint8Array = new Uint8Array(0);
  let next = 0;
  for (let i = 0; i < count; ) {
    if (next === bytes.length) {
      const words = draw(wordCount, random);
      bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
      next = 0;
    }
    const byte = bytes[next++]!;
    if (byte >= 243) continue;
    for (let k = 5 * byte; k < 5 * byte + 5 && i < count; k++) into[i++] = DIGITS[k]!;
  }
}

const EACH_2 = 0x55555555;
const EACH_4 = 0x33333333;
const EACH_8 = 0x0f0f0f0f;
const BITS_21 = 0x1fffff;

/** Independent errors, centred binomial: the ones among 21 random bits less those among 21 others, -21 to 21. */
export function sampleErrors(into: Int8Array, random: RandomWords = randomFillSync): void {
  const words = draw(2 * into.length, random);
  for (let i = 0; i < into.length; i++) {
    // The ones of a and the zeros of b are counted together; b's ones are 21 less its zeros.
    let a = words[2 * i]! & BITS_21;
    let b = ~words[2 * i + 1]! & BITS_21;
    a -= (a >>> 1) & EACH_2;
    b -= (b >>> 1) & EACH_2;
    const fours = (a & EACH_4) + ((a >>> 2) & EACH_4) + (b & EACH_4) + ((b >>> 2) & EACH_4);
    const eights = (fours & EACH_8) + ((fours >>> 4) & EACH_8);
    into[i] = (Math.imul(eights, 0x01010101) >>> 24) - LARGEST_ERROR;
  }
}

/**
 * Integers that are uniform in [-2^bits, 2^bits).
 * @param bits 0 to 52
 */
export function sampleUniform(count: number, bits: number, random: RandomWords = randomFillSync): Float64Array {
  const words = draw(2 * count, random);
  const drawn = bits + 1;
  const values = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const low = drawn < 32 ? words[2 * i]! >>> (32 - drawn) : words[2 * i]!;
    const high = drawn > 32 ? words[2 * i + 1]! >>> (64 - drawn) : 0;
    values[i] = high * 2 ** 32 + low - 2 ** bits;
  }
  return values;
}
