import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fitLargeSegments } from "../../src/training/segments/large-segments.ts";

/** Groups of points round corners far from each other. */
function groups(...sizes: readonly number[]): number[][] {
  return sizes.flatMap((size, g) => Array.from({ length: size }, (_, i) => [20 * g + (i % 5) / 10, 10 * (g % 2) + (i % 7) / 10]));
}
const refused = expect.objectContaining({ code: "RECORDS_TOO_FEW" });

describe("segments that may go into a document", () => {
  it("are as many as were asked for, where each has ten people", () => {
    const { fit, explanation } = fitLargeSegments({ features: groups(30, 20, 10), segments: 3, seed: 1 });
    expect([fit.sizes, explanation]).toEqual([[30, 20, 10], ""]);
  });

  it("are fewer, and it is said why, where one would have nine", () => {
    const { fit, explanation } = fitLargeSegments({ features: groups(30, 20, 9), segments: 3, seed: 1 });
    expect(fit.sizes).toHaveLength(2);
    expect(explanation).toContain("2 segments instead of 3");
  });

  it("are chosen by themselves with a reason, and never small", () => {
    const { fit, explanation } = fitLargeSegments({ features: groups(60, 50, 40), segments: "auto", seed: 1 });
    expect([fit.sizes, explanation]).toEqual([[60, 50, 40], expect.stringContaining("3 segments")]);
  });

  it("are none where a few people stand apart from all others, or all are alike", () => {
    expect(() => fitLargeSegments({ features: groups(60, 4), segments: 2, seed: 1 })).toThrow(refused);
    expect(() => fitLargeSegments({ features: groups(60, 4), segments: "auto", seed: 1 })).toThrow(refused);
    expect(() => fitLargeSegments({ features: Array.from({ length: 60 }, () => [1, 1]), segments: 3, seed: 1 })).toThrow(refused);
  });

  it("have ten people each whatever the groups are, or there are none", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 2, maxLength: 5 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 2, max: 6 }), (of, segments) => {
        try {
          const { fit } = fitLargeSegments({ features: groups(...of), segments, seed: 3 });
          expect(Math.min(...fit.sizes)).toBeGreaterThanOrEqual(10);
          expect(fit.sizes.length).toBeLessThanOrEqual(segments);
        } catch (error) {
          expect(error).toEqual(refused);
        }
      }),
      { seed: 11, numRuns: 25 },
    );
  });
});
