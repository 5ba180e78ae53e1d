import fc from "fast-check";
import { expect, it } from "vitest";
import { ERROR_VARIANCE, spectrum, TERNARY_VARIANCE, tailBound } from "../src/noise.ts";
import { type Shape, seededRandom, weightsOf } from "./arbitrary-heads.ts";

const norm2Of = (w: readonly number[]) => w.reduce((sum, x) => sum + x * x, 0);
const shapes: Shape[] = ["constant", "alternating", "one weight", "geometric", "cosine", "random"];
const weights = fc
  .record({
    shape: fc.constantFrom(...shapes),
    width: fc.integer({ min: 1, max: 512 }),
    bound: fc.integer({ min: 1, max: 4095 }),
    seed: fc.integer(),
  })
  .map(({ shape, width, bound, seed }) => weightsOf(shape, width, bound, seededRandom(seed)))
  .filter((w) => w.some((x) => x !== 0));

it("a spectrum satisfies Parseval: its sum is N times the squared norm", () => {
  fc.assert(
    fc.property(weights, fc.constantFrom(512, 1024, 2048), (w, n) => {
      const sum = spectrum(w, n).reduce((a, b) => a + b, 0);
      expect(sum / (n * norm2Of(w))).toBeCloseTo(1, 9);
    }),
    { numRuns: 40, seed: 2 },
  );
});

it("a spectrum is what the complex roots of X^N + 1 give, evaluated one by one", () => {
  const w = [3, -1, 4, 1, -5];
  spectrum(w, 8).forEach((square, i) => {
    const angle = ((2 * i + 1) * Math.PI) / 8;
    const re = w.reduce((sum, x, k) => sum + x * Math.cos(k * angle), 0);
    const im = w.reduce((sum, x, k) => sum + x * Math.sin(k * angle), 0);
    expect(square).toBeCloseTo(re * re + im * im, 9);
  });
});

it("the tail bound is at least 13.3 standard deviations, for every head and any number of merges", () => {
  fc.assert(
    fc.property(weights, fc.integer({ min: 1, max: 64 }), (w, merges) => {
      const n = 1024;
      const norm2 = norm2Of(w);
      const deviation = Math.sqrt(ERROR_VARIANCE * merges * norm2 * (1 + 2 * n * TERNARY_VARIANCE));
      const bound = tailBound({ norm2, spectrum: spectrum(w, n) }, merges);
      expect(bound).toBeGreaterThan(13.3 * deviation);
      expect(Number.isFinite(bound)).toBe(true);
      const symmetric = tailBound({ norm2, spectrum: new Float64Array(0) }, merges);
      expect(symmetric / Math.sqrt(ERROR_VARIANCE * merges * norm2)).toBeCloseTo(Math.sqrt(2 * 130 * Math.LN2), 3);
    }),
    { numRuns: 60, seed: 3 },
  );
});

it("the tail bound grows when the same energy sits in fewer roots", () => {
  const n = 2048;
  const bounds = [2048, 512, 128, 32, 8, 2].map((occupied) => {
    const squares = new Float64Array(n).fill(n / occupied, 0, occupied);
    return tailBound({ norm2: 1, spectrum: squares }, 1);
  });
  for (let i = 1; i < bounds.length; i++) expect(bounds[i]).toBeGreaterThan(bounds[i - 1]!);
  // A constant head is such a case: two roots carry most of it, and 13.4 deviations are not enough.
  const constant = weightsOf("constant", 2048, 1, () => 0);
  const deviation = Math.sqrt(ERROR_VARIANCE * 2048 * (1 + 2 * n * TERNARY_VARIANCE));
  expect(tailBound({ norm2: 2048, spectrum: spectrum(constant, n) }, 1)).toBeGreaterThan(1.5 * 13.4 * deviation);
});

it("the tail bound scales with the weights, and with the root of the merges", () => {
  const n = 1024;
  const at = (scale: number, merges: number) => {
    const w = weightsOf("random", 64, 100, seededRandom(4)).map((x) => x * scale);
    return tailBound({ norm2: norm2Of(w), spectrum: spectrum(w, n) }, merges);
  };
  expect(at(8, 1) / at(1, 1)).toBeCloseTo(8, 4);
  expect(at(1, 16) / at(1, 1)).toBeCloseTo(4, 4);
});
