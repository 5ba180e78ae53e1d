import { fitRecordFeatureSet } from "@smile/features/records/fit-record-feature-set";
import { encodeRecord } from "@smile/features/records/record-encoder";
import { recordFeatureCount } from "@smile/features/records/record-feature-count";
import { plantedSegments } from "@smile/simulators/workforce/planted-segments";
import { workforce } from "@smile/simulators/workforce/workforce";
import { workforceMapping } from "@smile/simulators/workforce/workforce-mapping";
import { describe, expect, it } from "vitest";
import { adjustedRandIndex } from "../../src/training/segments/adjusted-rand-index.ts";
import { chooseSegments } from "../../src/training/segments/choose-segments.ts";
import { describeSegments } from "../../src/training/segments/describe-segments.ts";
import { integerSegment, segmentHead } from "../../src/training/segments/segment-head.ts";
import { trainSegments } from "../../src/training/segments/train-segments.ts";

const sampled = [...workforce({ seed: 5, employees: 4000 })];
const { featureSet } = fitRecordFeatureSet(
  workforceMapping,
  sampled.map(({ record }) => record),
);
const encode = (people: typeof sampled) => people.map(({ record }) => encodeRecord(featureSet, record).features);
const truth = (people: typeof sampled) => people.map(({ segment }) => segment);

describe("a simulated workforce", () => {
  it("gives back its planted segments to an integer head, for people that training never saw", () => {
    expect(recordFeatureCount(featureSet)).toBe(48);
    const fit = trainSegments({ features: encode(sampled), k: plantedSegments.length, seed: 1 });
    const head = segmentHead(fit.centroids, featureSet.quantise);
    const others = [...workforce({ seed: 6, employees: 4000 })];
    for (const people of [sampled, others]) {
      const segments = encode(people).map((features) => integerSegment(head, features));
      expect(adjustedRandIndex(segments, truth(people))).toBeGreaterThanOrEqual(0.97);
    }
    const words = describeSegments(featureSet, fit.centroids, fit.sizes).map((profile) => profile.words);
    expect(words.find((text) => text.includes("shift_changes is much higher"))).toContain("remote_days is much lower");
    expect(words.find((text) => text.includes("direct_reports is much higher"))).toContain("monthly_salary is much higher");
  });

  it("has the number of its segments found, with no hint", () => {
    const few = sampled.slice(0, 1500);
    const { chosen, fit } = chooseSegments({ features: encode(few), range: [4, 5, 6, 7], seed: 1, restarts: 3 });
    expect(chosen.k).toBe(plantedSegments.length);
    expect(adjustedRandIndex(fit.segments, truth(few))).toBeGreaterThanOrEqual(0.95);
  });
});
