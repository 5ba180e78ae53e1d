import fc from "fast-check";
import type { PlanRequest } from "../src/planner.ts";

/** Shapes of a weight vector whose products and spectra are at their extremes; each in [-bound, bound]. */
const SHAPES = {
  constant: (bound: number) => () => bound,
  alternating: (bound: number) => (f: number) => (f % 2 === 0 ? bound : -bound),
  "one weight": (bound: number) => (f: number) => (f === 0 ? bound : 0),
  geometric: (bound: number) => (f: number) => Math.trunc(bound / 2 ** f),
  cosine: (bound: number) => (f: number) => Math.round(bound * Math.cos(f / 3)),
  zero: () => () => 0,
} as const;
export type Shape = keyof typeof SHAPES | "random";

/** @param random in [0, 1), used by the shape "random" only */
export function weightsOf(shape: Shape, width: number, bound: number, random: () => number): number[] {
  const at = shape === "random" ? () => Math.round((2 * random() - 1) * bound) : SHAPES[shape](bound);
  return Array.from({ length: width }, (_, f) => at(f) + 0);
}

/** A small generator (mulberry32), so that a seed is all that a counterexample has to print. */
export function seededRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}

const shape = fc.constantFrom<Shape>("constant", "alternating", "one weight", "geometric", "cosine", "zero", "random");
const featureCount = fc.oneof(fc.constantFrom(1, 2, 61, 64, 347, 1024, 2047, 2048), fc.integer({ min: 1, max: 2048 }));

/** Requests of every kind: from toy heads to ones that nothing fits. */
export const planRequest: fc.Arbitrary<PlanRequest> = fc
  .record({
    featureCount,
    featureBits: fc.integer({ min: 2, max: 12 }),
    outputs: fc.array(
      fc.record({ shape, logBound: fc.integer({ min: 0, max: 20 }), bias: fc.integer({ min: -(2 ** 24), max: 2 ** 24 }) }),
      {
        minLength: 1,
        maxLength: 2,
      },
    ),
    keyMode: fc.constantFrom("public" as const, "symmetric" as const),
    merges: fc.double({ min: 0, max: 1, noNaN: true }),
    modelPrivacy: fc.constantFrom("compact" as const, "sanitised" as const),
    seed: fc.integer(),
  })
  .map(({ outputs, merges, seed, ...rest }) => ({
    ...rest,
    maxMerges: Math.max(1, Math.round(merges * Math.floor(2048 / rest.featureCount))),
    heads: outputs.map(({ shape, logBound, bias }) => ({
      weights: [weightsOf(shape, rest.featureCount, 2 ** logBound, seededRandom(seed))],
      bias: [bias],
    })),
  }));
