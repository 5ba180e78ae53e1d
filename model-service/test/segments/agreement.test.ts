import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { adjustedRandIndex } from "../../src/training/segments/adjusted-rand-index.ts";
import { silhouette } from "../../src/training/segments/silhouette.ts";

const labels = fc.integer({ min: 1, max: 60 }).chain((length) => {
  const side = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: length, maxLength: length });
  return fc.tuple(side, side);
});

describe("the adjusted Rand index", () => {
  it("is that of worked examples", () => {
    expect(adjustedRandIndex([0, 0, 1, 1], [1, 1, 0, 0])).toBe(1);
    // scikit-learn's documentation: adjusted_rand_score([0, 0, 1, 2], [0, 0, 1, 1])
    expect(adjustedRandIndex([0, 0, 1, 2], [0, 0, 1, 1])).toBeCloseTo(0.5714, 4);
    expect(adjustedRandIndex([0, 0, 1, 1], [0, 1, 0, 1])).toBeCloseTo(-0.5, 9);
  });

  it("is symmetric, at most 1, 1 for the same grouping under other names, whatever the groups", () => {
    fc.assert(
      fc.property(labels, ([a, b]) => {
        expect(adjustedRandIndex(a, b)).toBeCloseTo(adjustedRandIndex(b, a), 12);
        expect(adjustedRandIndex(a, b)).toBeLessThanOrEqual(1 + 1e-12);
        const renamed = a.map((group) => 7 - group);
        expect(adjustedRandIndex(a, renamed)).toBe(1);
      }),
      { seed: 31, numRuns: 200 },
    );
  });

  it("is about 0 for groups that have nothing to do with each other", () => {
    const a = Array.from({ length: 10_000 }, (_, i) => i % 5);
    const b = Array.from({ length: 10_000 }, (_, i) => Math.floor(i / 5) % 4);
    expect(Math.abs(adjustedRandIndex(a, b))).toBeLessThan(0.002);
  });

  it("refuses groupings of different records", () => expect(() => adjustedRandIndex([1], [])).toThrow(RangeError));
});

describe("the silhouette", () => {
  it("is that of a worked example", () => {
    // Points 0, 1 | 5, 7: (4.5 + 0.5 ...) by hand: a = 1, 1, 2, 2 and b = 6, 5, 4.5, 6.5.
    const expected = (5 / 6 + 4 / 5 + 2.5 / 4.5 + 4.5 / 6.5) / 4;
    expect(silhouette([[0], [1], [5], [7]], [0, 0, 1, 1])).toBeCloseTo(expected, 12);
  });

  it("counts a record alone in its segment as 0, and says nothing of a single segment", () => {
    expect(silhouette([[0], [1], [9]], [0, 0, 1])).toBeCloseTo((8 / 9 + 7 / 8) / 3, 12);
    expect(silhouette([[0], [1]], [0, 0])).toBeNaN();
  });

  it("is negative for records in the wrong segment, and 0 for records that are all alike", () => {
    expect(silhouette([[0], [1], [10], [11]], [0, 1, 0, 1])).toBeLessThan(0);
    expect(silhouette([[3], [3], [3], [3]], [0, 1, 0, 1])).toBe(0);
  });

  it("needs a sample only: a thousand records stand for all", () => {
    const vectors = Array.from({ length: 4000 }, (_, i) => [(i % 4) * 10 + Math.sin(i), Math.cos(i * 7)]);
    const segments = vectors.map((_, i) => i % 4);
    const whole = silhouette(vectors, segments, { sample: 4000 });
    expect(silhouette(vectors, segments, { sample: 500, seed: 3 })).toBeCloseTo(whole, 1);
  });
});
