import { nearestSegment } from "@smile/features/records/nearest-segment";
import { plan } from "@smile/he/planner";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { integerScores } from "../../src/training/quantise-head.ts";
import { nearestCentroid, squaredDistance } from "../../src/training/segments/nearest-centroid.ts";
import { integerSegment, roundingGap, segmentHead } from "../../src/training/segments/segment-head.ts";

const cases = fc
  .record({ width: fc.integer({ min: 1, max: 12 }), bits: fc.integer({ min: 2, max: 10 }), weightBits: fc.integer({ min: 3, max: 14 }) })
  .chain(({ width, bits, weightBits }) => {
    const largest = 2 ** (bits - 1) - 1;
    const row = (value: fc.Arbitrary<number>) => fc.array(value, { minLength: width, maxLength: width });
    return fc.record({
      bits: fc.constant(bits),
      weightBits: fc.constant(weightBits),
      centroids: fc.array(row(fc.double({ min: -largest, max: largest, noNaN: true })), { minLength: 1, maxLength: 6 }),
      features: row(fc.integer({ min: -largest, max: largest })),
    });
  });

describe("a segment head", () => {
  it("gives every record its nearest centroid, unless two are nearer to equal than rounding tells apart", () => {
    let close = 0;
    fc.assert(
      fc.property(cases, ({ bits, weightBits, centroids, features }) => {
        const head = segmentHead(centroids, { bits, weightBits });
        const found = integerSegment(head, features);
        const distances = centroids.map((centroid) => squaredDistance(centroid, features));
        const nearest = nearestCentroid(centroids, features);
        if (found !== nearest) close++;
        expect(distances[found]! - distances[nearest]!).toBeLessThanOrEqual(roundingGap(head, features, centroids) * (1 + 1e-9));
      }),
      { seed: 41, numRuns: 2000 },
    );
    expect(close).toBeGreaterThan(0); // else the bound would not have been tried
  });

  it("scores 2 x.c - |c|^2, in squared units of the features", () => {
    const centroids = [
      [10, -4],
      [-20, 31],
    ];
    const head = segmentHead(centroids, { bits: 8, weightBits: 14 });
    const x = [7, 9];
    integerScores(head, x).forEach((score, k) => {
      const [a, b] = centroids[k]!;
      expect(score * head.scale).toBeCloseTo(2 * (x[0]! * a! + x[1]! * b!) - a! ** 2 - b! ** 2, 0);
    });
  });

  it("never scores beyond its worst case", () => {
    fc.assert(
      fc.property(cases, ({ bits, weightBits, centroids, features }) => {
        const head = segmentHead(centroids, { bits, weightBits });
        for (const score of integerScores(head, features)) expect(Math.abs(score)).toBeLessThanOrEqual(head.worstCase);
        expect([...head.weights.flat(), ...head.bias].every((value) => Number.isInteger(value) && !Object.is(value, -0))).toBe(true);
      }),
      { seed: 42, numRuns: 300 },
    );
  });

  it("takes the first of equally near centroids, as floating point does", () => {
    const centroids = [[5], [-5], [5]];
    expect(integerSegment(segmentHead(centroids, { bits: 8 }), [0])).toBe(0);
    expect(nearestCentroid(centroids, [0])).toBe(0);
    expect(nearestSegment([1, 3, 3])).toBe(1);
  });

  it("fits a plan of N = 2048 with every lane merged, at 48 features of 8 bits and weights of 11", () => {
    const random = (i: number) => Math.sin(i * 78.233) * 60;
    const centroids = Array.from({ length: 6 }, (_, k) => Array.from({ length: 48 }, (_, f) => random(k * 48 + f)));
    const head = segmentHead(centroids, { bits: 8 });
    expect(head.worstCase).toBeLessThan(2 ** 23.5);
    const { params, lanes, maxMerges } = plan({
      featureCount: 48,
      featureBits: 8,
      heads: [head],
      keyMode: "public",
      maxMerges: 64,
      modelPrivacy: "compact",
    });
    expect({ n: params.n, lanes, maxMerges }).toEqual({ n: 2048, lanes: 42, maxMerges: 42 });
  });
});
