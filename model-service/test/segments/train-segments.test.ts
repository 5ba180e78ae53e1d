import { describe, expect, it } from "vitest";
import { adjustedRandIndex } from "../../src/training/segments/adjusted-rand-index.ts";
import { chooseSegments } from "../../src/training/segments/choose-segments.ts";
import { seededOrder } from "../../src/training/segments/seeded-order.ts";
import { trainSegments } from "../../src/training/segments/train-segments.ts";

/** Clouds of 30 to 60 points around the corners of a square, and which cloud each point is of. */
function clouds(corners = 4) {
  const truth: number[] = [];
  const features = Array.from({ length: 45 * corners }, (_, i) => {
    const cloud = i % (3 * corners) < 2 * corners ? i % corners : 0;
    truth.push(cloud);
    const [x, y] = [(cloud % 2) * 40, Math.floor(cloud / 2) * 40];
    return Int32Array.of(Math.round(x + 8 * Math.sin(i * 3.7)), Math.round(y + 8 * Math.cos(i * 5.3)));
  });
  return { features, truth };
}

describe("training segments", () => {
  it("finds clouds that are apart, and puts the largest first", () => {
    const { features, truth } = clouds();
    const { segments, sizes, centroids, inertia } = trainSegments({ features, k: 4, seed: 1 });
    expect(adjustedRandIndex(segments, truth)).toBe(1);
    expect(sizes).toEqual([90, 30, 30, 30]);
    expect(centroids.map(([x, y]) => [Math.round(x! / 40), Math.round(y! / 40)])[0]).toEqual([0, 0]);
    expect(inertia).toBeLessThan(2 * 8 ** 2);
  });

  it("gives the same segments for the same seed, and keeps the best of several starts", () => {
    const { features } = clouds();
    expect(trainSegments({ features, k: 5, seed: 7 })).toEqual(trainSegments({ features, k: 5, seed: 7 }));
    const inertias = Array.from({ length: 6 }, (_, start) => trainSegments({ features, k: 5, seed: 7 + start, restarts: 1 }).inertia);
    expect(trainSegments({ features, k: 5, seed: 7, restarts: 6 }).inertia).toBeCloseTo(Math.min(...inertias), 9);
  });

  it("fits on a sample and still counts everybody", () => {
    const { features, truth } = clouds();
    const { segments, sizes } = trainSegments({ features, k: 4, seed: 1, sample: 60 });
    expect(adjustedRandIndex(segments, truth)).toBe(1);
    expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(features.length);
  });

  it("refuses more segments than there are different records", () => {
    const features = Array.from({ length: 50 }, (_, i) => Int32Array.of(i % 2, 3));
    expect(() => trainSegments({ features, k: 3, seed: 1 })).toThrow(expect.objectContaining({ code: "RECORDS_TOO_FEW" }));
    expect(() => trainSegments({ features: [], k: 2, seed: 1 })).toThrow(expect.objectContaining({ code: "RECORDS_TOO_FEW" }));
    expect(trainSegments({ features, k: 2, seed: 1 }).sizes).toEqual([25, 25]);
  });

  it("refuses a number of segments or starts that makes no sense", () => {
    const { features } = clouds();
    expect(() => trainSegments({ features, k: 1, seed: 1 })).toThrow(RangeError);
    expect(() => trainSegments({ features, k: 2.5, seed: 1 })).toThrow(RangeError);
    expect(() => trainSegments({ features, k: 2, seed: 1, restarts: 0 })).toThrow(RangeError);
  });
});

describe("choosing the number of segments", () => {
  it("finds as many as there are clouds, and says why", () => {
    const { features } = clouds();
    const { chosen, tried, explanation, fit } = chooseSegments({ features, range: [2, 3, 4, 5, 6], seed: 1 });
    expect(chosen.k).toBe(4);
    expect(fit.centroids).toHaveLength(4);
    expect(tried.map(({ k }) => k)).toEqual([2, 3, 4, 5, 6]);
    expect(explanation).toMatch(/^4 segments .* out of 2, 3, 4, 5, 6 tried\. Of those that two halves of the records agree on/);
  });

  it("says so when nothing is stable", () => {
    const features = Array.from({ length: 300 }, (_, i) =>
      Array.from({ length: 10 }, (_, f) => Math.round(50 * Math.sin(i * (f + 1.7) * 12.9898))),
    );
    const { chosen, explanation } = chooseSegments({ features, range: [5, 6], seed: 1 });
    expect(chosen.stability).toBeLessThan(0.8);
    expect(explanation).toContain("No number of segments is stable");
  });

  it("passes over a number that would leave a segment too small to be shown", () => {
    const { features } = clouds();
    const { chosen, explanation } = chooseSegments({ features, range: [2, 4], seed: 1, smallestSegment: 40 });
    expect(chosen.k).toBe(2);
    expect(explanation).toContain("4 would leave a segment of fewer than 40 records");
  });

  it("refuses an empty range", () => expect(() => chooseSegments({ features: clouds().features, range: [], seed: 1 })).toThrow(RangeError));
});

it("orders by seed and purpose alone, and leaves nobody out", () => {
  const order = seededOrder(500, 3, "halving 0");
  expect(order).toEqual(seededOrder(500, 3, "halving 0"));
  expect(order).not.toEqual(seededOrder(500, 3, "halving 1"));
  expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 500 }, (_, i) => i));
});
