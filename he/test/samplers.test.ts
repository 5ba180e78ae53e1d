import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type RandomWords, sampleErrors, sampleTernary, sampleUniform } from "../src/samplers.ts";
import { seededRandom } from "./arbitrary-heads.ts";

/** A generator that gives the same words in every run. */
function seededWords(seed: number): RandomWords {
  const random = seededRandom(seed);
  return (words) => words.set(Array.from(words, () => Math.floor(random() * 2 ** 32)));
}

const ones = (bits: number) => bits.toString(2).replaceAll("0", "").length;

function ternary(count: number, random: RandomWords): number[] {
  const into = new Int32Array(count);
  sampleTernary(into, random);
  return [...into];
}

describe("ternary coefficients", () => {
  it("are the base-three digits of bytes below 243, each less one, and other bytes are passed over", () => {
    const bytes = [242, 243, 0, 255, 5, 100];
    let next = 0;
    const random: RandomWords = (words) => {
      const target = new Uint8Array(words.buffer);
      target.set(Array.from(target, () => bytes[next++ % bytes.length]!));
    };
    const digits = (byte: number) => Array.from({ length: 5 }, (_, k) => (Math.floor(byte / 3 ** k) % 3) - 1);
    expect(ternary(20, random)).toEqual([242, 0, 5, 100].flatMap(digits));
  });

  it("are -1, 0 and 1 equally often, whatever their number", () => {
    const random = seededWords(7);
    for (const count of [1, 4, 5, 6, 2048, 4096]) expect(new Set(ternary(count, random))).not.toContain(undefined);
    const drawn = Array.from({ length: 100 }, () => ternary(2048, random)).flat();
    // Five deviations of a count of 204,800 / 3.
    for (const value of [-1, 0, 1]) expect(Math.abs(drawn.filter((x) => x === value).length - drawn.length / 3)).toBeLessThan(1070);
  });
});

describe("errors", () => {
  it("are the ones among 21 bits less those among 21 others", () => {
    const word = fc.nat(0xffffffff);
    fc.assert(
      fc.property(fc.array(fc.tuple(word, word), { minLength: 1, maxLength: 20 }), (pairs) => {
        const errors = new Int8Array(pairs.length);
        sampleErrors(errors, (words) => words.set(pairs.flat()));
        expect([...errors]).toEqual(pairs.map(([a, b]) => ones(a % 2 ** 21) - ones(b % 2 ** 21)));
      }),
      { seed: 12, numRuns: 300 },
    );
  });
});

describe("flooding", () => {
  it.each([0, 1, 8, 30, 31, 32, 40, 52])("of %i bits covers [-2^bits, 2^bits) from end to end", (bits) => {
    const drawn = (word: number) => sampleUniform(1, bits, (words) => words.fill(word))[0];
    expect(drawn(0)).toBe(-(2 ** bits));
    expect(drawn(0xffffffff)).toBe(2 ** bits - 1);
    const values = sampleUniform(20_000, bits, seededWords(bits));
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    const square = values.reduce((sum, x) => sum + x * x, 0) / values.length;
    // Five deviations of the estimates; a uniform distribution on [-b, b) has the variance b^2 / 3, of whole numbers 1/12 less.
    expect(Math.abs(mean + 0.5)).toBeLessThan((5 * 2 ** bits) / Math.sqrt(3 * 20_000));
    expect(Math.abs(square / ((2 ** bits) ** 2 / 3 + 1 / 6) - 1)).toBeLessThan(0.032);
    expect(values.every((x) => Number.isInteger(x) && x >= -(2 ** bits) && x < 2 ** bits)).toBe(true);
  });
});
