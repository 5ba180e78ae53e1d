import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { readCsvRecords } from "@smile/edge-agent/jobs/csv-records";
import { PipelineError } from "@smile/errors/pipeline-error";
import { fitRecordFeatureSet } from "@smile/features/records/fit-record-feature-set";
import { ibmHrAttrition } from "@smile/features/records/ibm-hr-attrition";
import { RecordEncoder } from "@smile/features/records/record-encoder";
import { recordStep } from "@smile/features/records/record-features";
import type { RecordMapping, RecordValues } from "@smile/features/records/record-spec";
import { deploySegments } from "@smile/model-service/deploy-segments";
import { adjustedRandIndex } from "@smile/model-service/training/segments/adjusted-rand-index";
import { describeSegments } from "@smile/model-service/training/segments/describe-segments";
import { integerSegment, segmentHead } from "@smile/model-service/training/segments/segment-head";
import { silhouette } from "@smile/model-service/training/segments/silhouette";
import { trainSegments } from "@smile/model-service/training/segments/train-segments";
import { releasable } from "@smile/plant-console/segments/release-rules";
import { readDocument } from "@smile/runtime/document-file";
import { createLogger, silentLogger } from "@smile/runtime/logging";
import { RecordMappingDocument } from "@smile/schemas/record-documents";
import { Command, Option } from "commander";
import { codeVersion } from "./code-version.ts";
import { shared, whole } from "./options.ts";
import { consoleCommands } from "./segment/console-commands.ts";
import { runSegments } from "./segment/run-segments.ts";

type RunOptions = {
  data: string;
  features: string;
  segments: number;
  seed: number;
  minimum: number;
  keyMode: "public" | "symmetric";
  privacy: "compact" | "sanitised";
  verbose?: boolean;
  json?: boolean;
};

/** Mappings that ship with the product, by the name that `--features` takes. */
const mappings: Readonly<Record<string, RecordMapping>> = { "ibm-hr-attrition": ibmHrAttrition };
/** Records that the model is trained on at most: the first ones of the file. */
const MOST_TRAINING_RECORDS = 20_000;

/** `smile segment` */
export function segmentCommand(signal: AbortSignal): Command {
  const segment = new Command("segment")
    .description("Find groups in records of people without showing the records to whoever computes")
    .addCommand(
      new Command("run")
        .description(
          "Train segments on a file of your own, send its records as one encrypted job through every service in this process, and show the groups that you decrypt; groups that are too small are not shown",
        )
        .requiredOption("--data <file>", "CSV with a header, one record per line")
        .option("--features <set>", `mapping of the columns: ${Object.keys(mappings).join(", ")}, or a JSON file`, "ibm-hr-attrition")
        .addOption(new Option("--segments <k>", "number of segments").argParser(whole(2, 64)).default(5))
        .addOption(new Option("--minimum <n>", "smallest group that is shown").argParser(whole(10, 1_000_000)).default(10))
        .addOption(new Option("--seed <n>", "seed of the training").argParser(whole(0, 2 ** 31)).default(1))
        .addOption(shared.keyMode())
        .addOption(shared.privacy())
        .option("--verbose", "log lines of all services on standard error")
        .addOption(shared.json())
        .addHelpText("after", "\nExample: smile segment run --data employees.csv --features mapping.json --segments 5")
        .action((options: RunOptions) => run(options, signal)),
    );
  for (const command of consoleCommands(signal)) segment.addCommand(command);
  return segment;
}

async function run(options: RunOptions, signal: AbortSignal): Promise<void> {
  const beganMs = performance.now();
  const data = resolve(options.data);
  const mapping = mappings[options.features] ?? readDocument(RecordMappingDocument, resolve(options.features), "mapping");
  const say = (text: string) => void process.stderr.write(`${text}\n`);
  const sample = await firstRecords(data, MOST_TRAINING_RECORDS);
  const { featureSet, permitted } = fitRecordFeatureSet(mapping, sample);
  for (const { column, kind, reason } of permitted) say(`permitted: ${column} (${kind}), because: ${reason}`);
  const encoder = new RecordEncoder(featureSet);
  const real = sample.map((record) => standardised(encoder, record));
  say(`training ${options.segments} segments on ${sample.length} records of ${encoder.width} features`);
  const fit = trainSegments({ features: real, k: options.segments, seed: options.seed });
  const centroids = fit.centroids.map((centroid) => centroid.map((value) => value / recordStep(featureSet)));
  const head = segmentHead(centroids, featureSet.quantise);
  const profiles = describeSegments(featureSet, centroids, fit.sizes);
  const deployed = deploySegments({
    ...{ featureSet, head, keyMode: options.keyMode, modelPrivacy: options.privacy },
    card: {
      name: mapping.name,
      // The card is public, so it tells no sizes.
      segments: profiles.map(({ segment, traits }) => ({
        name: `segment ${segment + 1}`,
        words: traits.map(({ words }) => words).join("; "),
      })),
      training: { data: "the organisation's own file", records: sample.length, metrics: { inertia: fit.inertia } },
      codeVersion,
    },
  });

  const folder = await mkdtemp(join(tmpdir(), "smile-segments-"));
  try {
    let told = 0;
    const logger = options.verbose ? createLogger({ service: "segment" }) : silentLogger();
    const onProgress = (share: number) => {
      if (share < told) return;
      say(`${String(Math.floor(100 * share)).padStart(3)} % of the records have their segment`);
      told = Math.floor(10 * share + 1) / 10;
    };
    const { segments, missing, duplicated } = await runSegments({ data, deployed, folder, logger, signal, onProgress });

    // What only the organisation can do: compare with the model in plaintext, record by record.
    let mismatches = 0;
    let index = 0;
    const own: { readonly features: Int32Array; readonly segment: number }[] = [];
    for await (const record of readCsvRecords(data)) {
      const features = new Int32Array(encoder.width);
      encoder.encode(record, features);
      if (segments[index] !== integerSegment(head, features)) mismatches++;
      if (index < sample.length) own.push({ features, segment: segments[index]! });
      index++;
    }
    const sizes = head.weights.map((_, k) => segments.reduce((sum, segment) => sum + (segment === k ? 1 : 0), 0));
    const shown = releasable({ sizes, minimum: options.minimum });
    const report = {
      records: index,
      missing,
      duplicated,
      mismatches,
      segments: shown.groups.map((group) => group.reduce((sum, segment) => sum + sizes[segment]!, 0)),
      adjustedRandIndex: round(
        adjustedRandIndex(
          own.map(({ segment }) => segment),
          fit.segments,
        ),
      ),
      silhouette: round(
        silhouette(
          own.map(({ features }) => features),
          own.map(({ segment }) => segment),
        ),
      ),
      withheld: shown.withheld.length,
      seconds: Math.round((performance.now() - beganMs) / 100) / 10,
    };
    if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
    else {
      // By the sizes that were decrypted: beside those of the training they would tell who changed groups.
      const found = describeSegments(featureSet, centroids, sizes);
      for (const segment of shown.groups.flat()) process.stdout.write(`${found[segment]!.words}\n`);
      if (shown.withheld.length > 0) process.stdout.write(`${shown.withheld.length} segments are withheld: too few people\n`);
      const { records, adjustedRandIndex: agreement, seconds } = report;
      process.stdout.write(`${records} records, ${missing} missing, ${duplicated} duplicated, ${mismatches} unlike the plaintext model, `);
      process.stdout.write(`adjusted Rand index ${agreement} against floating point, ${seconds} s\n`);
    }
    if (missing + duplicated + mismatches > 0) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function firstRecords(path: string, most: number): Promise<RecordValues[]> {
  const records: RecordValues[] = [];
  for await (const record of readCsvRecords(path)) {
    records.push(record);
    if (records.length === most) break;
  }
  if (records.length === 0) throw new PipelineError("RECORDS_TOO_FEW", `${path} has no records`, { path });
  return records;
}

function standardised(encoder: RecordEncoder, record: RecordValues): Float64Array {
  const out = new Float64Array(encoder.width);
  encoder.standardise(record, out);
  return out;
}

const round = (value: number) => Math.round(value * 1e4) / 1e4;
