import { join } from "node:path";
import { Command } from "commander";
import { shared } from "../options.ts";
import { report } from "../plant/report.ts";
import { notePermitted } from "./note-permitted.ts";
import { segmentOptions } from "./segment-options.ts";
import type { TrainingOptions } from "./train-model.ts";

/** `smile segment train` */
export function segmentTrainCommand(): Command {
  return new Command("train")
    .description(
      "Learn segments from a file of your own, or of a sample that you may see, and write the model: deployment.json (public), head.json and model-service.json (for the model service), profiles.json (yours alone)",
    )
    .requiredOption("--data <file>", "CSV with a header, one record per person")
    .addOption(segmentOptions.features())
    .addOption(segmentOptions.segments())
    .requiredOption("--out <folder>", "where the documents go")
    .addOption(segmentOptions.seed())
    .addOption(shared.keyMode())
    .addOption(shared.privacy())
    .addOption(shared.json())
    .addHelpText("after", "\nExample: smile segment train --data sample.csv --features mapping.json --segments auto --out model")
    .action(train);
}

async function train({ out, json, ...options }: TrainingOptions & { out: string; json?: boolean }): Promise<void> {
  const [{ trainModel }, { writeModel }] = await Promise.all([import("./train-model.ts"), import("./model-folder.ts")]);
  const { model, permitted, records, explanation } = await trainModel(options, (text) => void process.stderr.write(`${text}\n`));
  const files = writeModel(out, model);
  const { headId, featureSetId } = model.deployment.cards[0]!;
  notePermitted(join(out, "audit.db"), model, permitted);
  const facts = {
    ...files,
    headId,
    featureSetId,
    segments: model.profiles.segments.length,
    asked: options.segments,
    explanation,
    records,
    featureCount: model.profiles.featureNames.length,
    lanes: model.deployment.lanes,
    permitted: permitted.map(({ column }) => column),
  };
  const lines = model.profiles.segments.map(({ name, words }) => `${name}: ${words}`);
  const next = `give ${files.deployment} to the operator and ${files.head} to the model service; keep ${files.profiles}; then \`smile plant init --deployment ${files.deployment}\``;
  report(json, facts, lines, next);
}
