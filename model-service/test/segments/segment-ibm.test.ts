import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fitRecordFeatureSet } from "@smile/features/records/fit-record-feature-set";
import { ibmHrAttrition } from "@smile/features/records/ibm-hr-attrition";
import { RecordEncoder } from "@smile/features/records/record-encoder";
import { recordStep } from "@smile/features/records/record-features";
import { plan } from "@smile/he/planner";
import { parse } from "csv-parse/sync";
import { expect, it } from "vitest";
import { adjustedRandIndex } from "../../src/training/segments/adjusted-rand-index.ts";
import { describeSegments } from "../../src/training/segments/describe-segments.ts";
import { integerSegment, segmentHead } from "../../src/training/segments/segment-head.ts";
import { silhouette } from "../../src/training/segments/silhouette.ts";
import { trainSegments } from "../../src/training/segments/train-segments.ts";

const file = join(
  process.env.SMILE_DATA ?? resolve(import.meta.dirname, "../../../../shared/data"),
  "ibm-hr-attrition/WA_Fn-UseC_-HR-Employee-Attrition.csv",
);
const missing = !existsSync(file);
const why = missing ? ` (SKIPPED: no ${file}; set SMILE_DATA)` : "";

it.skipIf(missing)(`the integer head segments IBM's HR file as float k-means does, within a plan of N = 2048${why}`, () => {
  const records = parse(readFileSync(file), { columns: true, bom: true }) as Record<string, string>[];
  const { featureSet } = fitRecordFeatureSet(ibmHrAttrition, records);
  const encoder = new RecordEncoder(featureSet);
  const real = records.map((record) => {
    const out = new Float64Array(encoder.width);
    encoder.standardise(record, out);
    return out;
  });
  const integers = records.map((record) => {
    const out = new Int32Array(encoder.width);
    encoder.encode(record, out);
    return out;
  });
  for (const seed of [1, 2, 3]) {
    const fit = trainSegments({ features: real, k: 5, seed });
    const centroids = fit.centroids.map((centroid) => centroid.map((value) => value / recordStep(featureSet)));
    const head = segmentHead(centroids, featureSet.quantise);
    const segments = integers.map((features) => integerSegment(head, features));
    expect(adjustedRandIndex(segments, fit.segments)).toBeGreaterThanOrEqual(0.99);
    expect(silhouette(integers, segments)).toBeGreaterThan(0.07);
    expect(Math.min(...fit.sizes)).toBeGreaterThan(100);
    expect(head.worstCase).toBeLessThan(2 ** 20.5);
    const request = { featureCount: encoder.width, featureBits: 8, heads: [head], keyMode: "public", modelPrivacy: "compact" } as const;
    expect(plan({ ...request, maxMerges: 55 })).toMatchObject({ params: { n: 2048 }, lanes: 55, maxMerges: 55 });
    expect(plan({ ...request, maxMerges: 1 }).params.n).toBe(2048);
    for (const { traits, words } of describeSegments(featureSet, centroids, fit.sizes)) {
      expect(traits.length).toBeGreaterThanOrEqual(3);
      expect(words).toMatch(/^Segment \d, \d+ records/);
    }
  }
});
