import { recordStep } from "@smile/features/records/record-features";
import type { RecordFeatureSet } from "@smile/features/records/record-spec";
import { describe, expect, it } from "vitest";
import { describeSegments } from "../../src/training/segments/describe-segments.ts";

const set: RecordFeatureSet = {
  kind: "record-feature-set",
  version: 1,
  name: "profile",
  columns: [
    { kind: "numeric", column: "pay", mean: 4000, deviation: 1000, weight: 1 },
    { kind: "ordinal", column: "level", values: ["1", "2", "3", "4", "5"], mean: 2, deviation: 1, weight: 0.5 },
    { kind: "ordinal", column: "skill", values: ["entry", "skilled", "senior"], mean: 1, deviation: 0.5, weight: 1 },
    { kind: "categorical", column: "site", values: ["north", "south"], shares: [0.5, 0.5], weight: 1 },
    { kind: "numeric", column: "tenure", mean: 6, deviation: 4, weight: 1 },
  ],
  clip: 4,
  quantise: { bits: 8 },
};
/** Deviations of each feature, as the integers of a centroid. */
const centroid = (deviations: readonly number[]) => {
  const weights = [1, 0.5, 1, 1, 1, 1];
  return deviations.map((value, f) => (value * weights[f]!) / recordStep(set));
};

describe("the profile of a segment", () => {
  it("names what sets it apart, the most telling first, in words", () => {
    const [profile] = describeSegments(set, [centroid([1.5, -1.25, 0.6, 0.2, -0.2, 0.1])], [30]);
    expect(profile!.words).toBe(
      "Segment 1, 30 records (100 %): pay is much higher (about 5,500; typical 4,000); level is much lower (about 1.8; typical 3.0); skill is higher.",
    );
    expect(profile!.traits.map(({ column, level }) => [column, level])).toEqual([
      ["pay", "much higher"],
      ["level", "much lower"],
      ["skill", "higher"],
    ]);
  });

  it("tells the share of a category instead of a distance, once per column", () => {
    const half = Math.SQRT1_2; // all south: (1 - 0.5) / sqrt(0.25 + 0.25)
    const [profile] = describeSegments(set, [centroid([0, 0, 0, -half, half, 0])], [1]);
    expect(profile!.words).toContain("site is north for 0 % (typical 50 %).");
    expect(profile!.traits.filter(({ column }) => column === "site")).toHaveLength(1);
  });

  it("has three to five traits, typical ones too where little sets a segment apart", () => {
    const profiles = describeSegments(set, [centroid([2, 2, 2, 0.7, -0.7, 2]), centroid([0, 0, 0, 0, 0, 0])], [60, 20]);
    expect(profiles.map(({ traits, share }) => [traits.length, share])).toEqual([
      [5, 0.75],
      [3, 0.25],
    ]);
    expect(profiles[1]!.words).toBe("Segment 2, 20 records (25 %): close to the average in every column.");
  });

  it("refuses centroids of another feature set", () => expect(() => describeSegments(set, [[1, 2]], [3])).toThrow(RangeError));
});
