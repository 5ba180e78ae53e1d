import { resolve } from "node:path";
import { readCsvRecords } from "@smile/edge-agent/jobs/csv-records";
import { readMapping } from "@smile/edge-agent/jobs/record-mapping";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { PermittedColumn } from "@smile/features/records/check-mapping";
import { fitRecordFeatureSet } from "@smile/features/records/fit-record-feature-set";
import { RecordEncoder } from "@smile/features/records/record-encoder";
import { recordFeatureNames, recordStep } from "@smile/features/records/record-features";
import type { RecordFeatureSet, RecordValues } from "@smile/features/records/record-spec";
import { deploySegments } from "@smile/model-service/deploy-segments";
import { describeSegments } from "@smile/model-service/training/segments/describe-segments";
import { fitLargeSegments } from "@smile/model-service/training/segments/large-segments";
import { segmentHead } from "@smile/model-service/training/segments/segment-head";
import { codeVersion } from "../code-version.ts";
import type { SegmentModel } from "./model-folder.ts";

/** Records that a model is trained on at most: the first ones of the file. */
const MOST_TRAINING_RECORDS = 20_000;

export type TrainingOptions = {
  readonly data: string;
  readonly features: string;
  readonly segments: number | "auto";
  readonly seed: number;
  readonly keyMode: "public" | "symmetric";
  readonly privacy: "compact" | "sanitised";
};

export type TrainedModel = {
  readonly model: SegmentModel;
  readonly permitted: readonly PermittedColumn[];
  readonly records: number;
  /** Why so many segments; empty where they are as many as were asked for. */
  readonly explanation: string;
};

/**
 * Learns segments from a file of the organisation's own. No segment has fewer than ten people there.
 * @param say told what is going on, for people
 * @throws {PipelineError} what is wrong with file or mapping; RECORDS_TOO_FEW; PLAN_REFUSED
 */
export async function trainModel(options: TrainingOptions, say: (text: string) => void): Promise<TrainedModel> {
  const { segments, seed, keyMode, privacy } = options;
  const mapping = readMapping(options.features, process.cwd());
  const sample = await firstRecords(resolve(options.data));
  const { featureSet, permitted } = fitRecordFeatureSet(mapping, sample);
  for (const { column, kind, reason } of permitted) say(`permitted: ${column} (${kind}), because: ${reason}`);
  const features = standardised(featureSet, sample);
  const many = segments === "auto" ? "segments" : `${segments} segments`;
  say(`training ${many} on ${sample.length} records of ${features[0]!.length} features`);
  const { fit, explanation } = fitLargeSegments({ features, segments, seed });
  if (explanation !== "") say(explanation);
  const step = recordStep(featureSet);
  const centroids = fit.centroids.map((centroid) => centroid.map((value) => value / step));
  // The card is public, so it tells no sizes.
  const named = describeSegments(featureSet, centroids, fit.sizes).map(({ segment, traits }) => {
    return { name: `segment ${segment + 1}`, words: traits.map(({ words }) => words).join("; ") };
  });
  const deployed = deploySegments({
    ...{ featureSet, head: segmentHead(centroids, featureSet.quantise), keyMode, modelPrivacy: privacy },
    card: {
      name: mapping.name,
      segments: named,
      training: { data: "the organisation's own file", records: sample.length, metrics: { inertia: fit.inertia } },
      codeVersion,
    },
  });
  const { headId, featureSetId } = deployed.deployment.cards[0]!;
  const model: SegmentModel = {
    deployment: deployed.deployment,
    heads: deployed.heads,
    modelPrivacy: deployed.plan.modelPrivacy,
    profiles: {
      kind: "segment-profiles",
      version: 1,
      headId,
      featureSetId,
      featureNames: recordFeatureNames(featureSet),
      segments: named.map((segment, k) => ({ ...segment, centroid: [...fit.centroids[k]!] })),
    },
  };
  return { model, permitted, records: sample.length, explanation };
}

/** @throws {PipelineError} RECORDS_TOO_FEW for a file without any */
export async function firstRecords(path: string): Promise<RecordValues[]> {
  const records: RecordValues[] = [];
  for await (const record of readCsvRecords(path)) {
    records.push(record);
    if (records.length === MOST_TRAINING_RECORDS) break;
  }
  if (records.length === 0) throw new PipelineError("RECORDS_TOO_FEW", `${path} has no records`, { path });
  return records;
}

/** [records][F] deviations times weight. */
export function standardised(featureSet: RecordFeatureSet, records: readonly RecordValues[]): Float64Array[] {
  const encoder = new RecordEncoder(featureSet);
  return records.map((record) => {
    const out = new Float64Array(encoder.width);
    encoder.standardise(record, out);
    return out;
  });
}
