import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { readCsvRecords } from "@smile/edge-agent/jobs/csv-records";
import { readMapping } from "@smile/edge-agent/jobs/record-mapping";
import { RecordEncoder } from "@smile/features/records/record-encoder";
import { recordStep } from "@smile/features/records/record-features";
import { RecordGuard } from "@smile/features/records/record-guard";
import type { RecordFeatureSet } from "@smile/features/records/record-spec";
import { adjustedRandIndex } from "@smile/model-service/training/segments/adjusted-rand-index";
import { describeSegments } from "@smile/model-service/training/segments/describe-segments";
import { assignSegments } from "@smile/model-service/training/segments/nearest-centroid";
import { integerSegment } from "@smile/model-service/training/segments/segment-head";
import { silhouette } from "@smile/model-service/training/segments/silhouette";
import { releasable } from "@smile/plant-console/segments/release-rules";
import { createLogger, silentLogger } from "@smile/runtime/logging";
import { readModel, type SegmentModel } from "./model-folder.ts";
import { notePermitted } from "./note-permitted.ts";
import { runSegments, type Segmented } from "./run-segments.ts";
import { firstRecords, standardised, type TrainedModel, type TrainingOptions, trainModel } from "./train-model.ts";

export type RunHereOptions = TrainingOptions & {
  readonly model?: string;
  readonly minimum: number;
  readonly audit?: string;
  readonly verbose?: boolean;
  readonly json?: boolean;
};

const say = (text: string) => void process.stderr.write(`${text}\n`);

/** `smile segment run` with every service in this process. */
export async function runHere(options: RunHereOptions, signal: AbortSignal): Promise<void> {
  const beganMs = performance.now();
  const data = resolve(options.data);
  const { model, permitted } =
    options.model === undefined ? await trainModel(options, say) : await ownModel(options.model, options.features, data);
  notePermitted(options.audit, model, permitted);
  const folder = await mkdtemp(join(tmpdir(), "smile-segments-"));
  try {
    const logger = options.verbose ? createLogger({ service: "segment" }) : silentLogger();
    const segmented = await runSegments({ data, model, folder, logger, signal, onProgress: tellProgress() });
    const compared = await compare(data, model, segmented);
    show(options, model, segmented, compared, beganMs);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** A model of a folder, once the file's columns are known to be what the mapping lets it have. */
async function ownModel(folder: string, features: string, data: string): Promise<Pick<TrainedModel, "model" | "permitted">> {
  const model = readModel(resolve(folder), process.env);
  const guard = new RecordGuard(readMapping(features, process.cwd()), model.deployment.featureSet);
  for (const record of await firstRecords(data)) guard.add(record);
  const permitted = guard.check();
  for (const { column, kind, reason } of permitted) say(`permitted: ${column} (${kind}), because: ${reason}`);
  return { model, permitted };
}

type Compared = {
  readonly records: number;
  /** Records whose segment is not that of the integer model in plaintext. */
  readonly mismatches: number;
  /** Against the same centroids in floating point, over the first records. */
  readonly adjustedRandIndex: number;
  readonly silhouette: number;
};

/** What only the organisation can do: compares with the model in plaintext, record by record. */
async function compare(data: string, { deployment, heads, profiles }: SegmentModel, { segments }: Segmented): Promise<Compared> {
  const { featureSet }: { featureSet: RecordFeatureSet } = deployment;
  const encoder = new RecordEncoder(featureSet);
  const sample = await firstRecords(data);
  const own: { readonly features: Int32Array; readonly segment: number }[] = [];
  let mismatches = 0;
  let records = 0;
  for await (const record of readCsvRecords(data)) {
    const features = new Int32Array(encoder.width);
    encoder.encode(record, features);
    const segment = segments[records]!;
    if (segment !== integerSegment(heads[0]!, features)) mismatches++;
    if (records++ < sample.length) own.push({ features, segment });
  }
  const labels = own.map(({ segment }) => segment);
  const centroids = profiles.segments.map(({ centroid }) => centroid);
  const float = assignSegments(centroids, standardised(featureSet, sample));
  return {
    records,
    mismatches,
    adjustedRandIndex: round(adjustedRandIndex(labels, float)),
    silhouette: round(
      silhouette(
        own.map(({ features }) => features),
        labels,
      ),
    ),
  };
}

function show(
  options: RunHereOptions,
  model: SegmentModel,
  { segments, missing, duplicated }: Segmented,
  compared: Compared,
  beganMs: number,
) {
  const { featureSet } = model.deployment;
  const sizes = model.profiles.segments.map((_, k) => segments.reduce((sum, segment) => sum + (segment === k ? 1 : 0), 0));
  const shown = releasable({ sizes, minimum: options.minimum });
  const { records, mismatches, adjustedRandIndex: agreement } = compared;
  const seconds = Math.round((performance.now() - beganMs) / 100) / 10;
  if (options.json) {
    const groups = shown.groups.map((group) => group.reduce((sum, segment) => sum + sizes[segment]!, 0));
    const report = {
      ...{ records, missing, duplicated, mismatches, segments: groups, adjustedRandIndex: agreement },
      ...{ silhouette: compared.silhouette, withheld: shown.withheld.length, seconds },
    };
    process.stdout.write(`${JSON.stringify(report)}\n`);
  } else {
    // By the sizes that were decrypted: beside those of the training they would tell who changed groups.
    const step = recordStep(featureSet);
    const centroids = model.profiles.segments.map(({ centroid }) => centroid.map((value) => value / step));
    const found = describeSegments(featureSet, centroids, sizes);
    for (const segment of shown.groups.flat()) process.stdout.write(`${found[segment]!.words}\n`);
    if (shown.withheld.length > 0) process.stdout.write(`${shown.withheld.length} segments are withheld: too few people\n`);
    process.stdout.write(`${records} records, ${missing} missing, ${duplicated} duplicated, ${mismatches} unlike the plaintext model, `);
    process.stdout.write(`adjusted Rand index ${agreement} against floating point, ${seconds} s\n`);
  }
  if (missing + duplicated + mismatches > 0) process.exitCode = 1;
}

/** Tells each tenth once. */
function tellProgress(): (share: number) => void {
  let next = 0;
  return (share) => {
    if (share < next) return;
    say(`${String(Math.floor(100 * share)).padStart(3)} % of the records have their segment`);
    next = Math.floor(10 * share + 1) / 10;
  };
}

const round = (value: number) => Math.round(value * 1e4) / 1e4;
