import { isPipelineError } from "@smile/errors/pipeline-error";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkLanes, decodeLanes, disjoint, encodeLanes, headPolynomial, laneCount, packLanes, scorePosition } from "../src/lanes.ts";

const N = 64;
const lanesInvalid = (work: () => unknown) => {
  try {
    work();
  } catch (error) {
    return isPipelineError(error, "LANES_INVALID");
  }
  return false;
};

/** F from 1 to N, and windows of full-range features in some of the lanes, in any order. */
const windows = fc.integer({ min: 1, max: N }).chain((featureCount) =>
  fc.record({
    featureCount: fc.constant(featureCount),
    entries: fc
      .shuffledSubarray(Array.from({ length: laneCount(N, featureCount) }, (_, lane) => lane))
      .chain((lanes) =>
        fc.tuple(
          ...lanes.map((lane) =>
            fc
              .array(fc.integer({ min: -127, max: 127 }), { minLength: featureCount, maxLength: featureCount })
              .map((features) => ({ lane, features })),
          ),
        ),
      ),
    weights: fc.array(fc.integer({ min: -1023, max: 1023 }), { minLength: featureCount, maxLength: featureCount }),
  }),
);

/** a * b in Z[X] / (X^N + 1), from the definition. */
function negacyclic(a: Int32Array, b: Int32Array): number[] {
  const product = Array.from({ length: N }, () => 0);
  a.forEach((x, i) => {
    b.forEach((y, j) => {
      const k = i + j;
      product[k % N]! += k < N ? x * y : -x * y;
    });
  });
  return product;
}

describe("lanes", () => {
  it("never overlap or lose a window: each window's coefficients are its own, and all others are zero", () => {
    fc.assert(
      fc.property(windows, ({ featureCount, entries }) => {
        const coefficients = packLanes(entries, N, featureCount);
        const left = Array.from(coefficients);
        for (const { lane, features } of entries) {
          expect(left.slice(lane * featureCount, (lane + 1) * featureCount)).toEqual(features);
          left.fill(0, lane * featureCount, (lane + 1) * featureCount);
        }
        expect(left.every((c) => c === 0)).toBe(true);
      }),
      { numRuns: 300, seed: 10 },
    );
  });

  it("carry the dot product at their score position after the multiplication, and zero where no window is", () => {
    fc.assert(
      fc.property(windows, ({ featureCount, entries, weights }) => {
        const product = negacyclic(packLanes(entries, N, featureCount), headPolynomial(weights, N));
        for (let lane = 0; lane < laneCount(N, featureCount); lane++) {
          const features = entries.find((entry) => entry.lane === lane)?.features;
          const score = features?.reduce((sum, x, f) => sum + x * weights[f]!, 0) ?? 0;
          expect(product[scorePosition(lane, featureCount)]! + 0).toBe(score);
        }
      }),
      { numRuns: 200, seed: 11 },
    );
  });

  it("as bytes come back ascending, whatever order they were given in", () => {
    const sets = fc.integer({ min: 1, max: 70 }).chain((total) =>
      fc.record({
        total: fc.constant(total),
        lanes: fc.shuffledSubarray(
          Array.from({ length: total }, (_, lane) => lane),
          { minLength: 1 },
        ),
      }),
    );
    fc.assert(
      fc.property(sets, ({ total, lanes }) => {
        expect(decodeLanes(encodeLanes(lanes, total), total)).toEqual(lanes.toSorted((a, b) => a - b));
      }),
      { numRuns: 300, seed: 12 },
    );
  });

  it("are disjoint exactly when no lane is in both sets", () => {
    const set = fc.uniqueArray(fc.integer({ min: 0, max: 31 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(set, set, (a, b) => {
        expect(disjoint(encodeLanes(a, 32), encodeLanes(b, 32))).toBe(a.every((lane) => !b.includes(lane)));
      }),
      { numRuns: 300, seed: 13 },
    );
  });

  it.each<[string, () => unknown]>([
    ["packing: a lane that is not there", () => packLanes([{ lane: 2, features: [1, 2] }], 4, 2)],
    ["packing: a negative lane", () => packLanes([{ lane: -1, features: [1, 2] }], 4, 2)],
    ["packing: half a lane", () => packLanes([{ lane: 0.5, features: [1, 2] }], 4, 2)],
    [
      "packing: two windows in one lane",
      () =>
        packLanes(
          [0, 0].map((lane) => ({ lane, features: [1, 2] })),
          4,
          2,
        ),
    ],
    ["packing: a window of another width", () => packLanes([{ lane: 0, features: [1] }], 4, 2)],
    ["encoding: a lane that is not there", () => encodeLanes([32], 32)],
    ["encoding: not a number", () => encodeLanes([Number.NaN], 32)],
    ["decoding: too few bytes", () => decodeLanes(new Uint8Array(3).fill(1), 32)],
    ["decoding: too many bytes", () => decodeLanes(new Uint8Array(5).fill(1), 32)],
    ["decoding: no lane at all", () => decodeLanes(new Uint8Array(4), 32)],
    ["decoding: a lane behind the last one", () => decodeLanes(Uint8Array.of(1, 0b1000_0000), 15)],
    ["checking: a lane that is not there", () => checkLanes([0, 32], 2048, 64)],
    ["checking: a lane twice", () => checkLanes([3, 3], 2048, 64)],
    ["checking: descending lanes", () => checkLanes([4, 3], 2048, 64)],
  ])("are refused when %s", (_, work) => {
    expect(lanesInvalid(work)).toBe(true);
  });
});
