import { mkdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { residueBits } from "@smile/he/params";
import { deploy, withPrecision } from "@smile/model-service/deploy";
import { writeJsonFile } from "@smile/runtime/json-file";
import { documentId } from "@smile/schemas/documents";
import type { CmapssSet } from "@smile/simulators/cmapss";
import { Command } from "commander";
import { cmapssScenario } from "./demo/cmapss-scenario.ts";
import { fleetScenario } from "./demo/fleet-scenario.ts";
import { shared } from "./options.ts";

type TrainOptions = {
  out: string;
  replay?: string;
  set: CmapssSet;
  seed: number;
  keyMode: "public" | "symmetric";
  privacy: "compact" | "sanitised";
  maxMerges: number;
  lanes: number;
  precision: number;
  wholeReplies?: boolean;
  json?: boolean;
};

/** `smile train` */
export function trainCommand(): Command {
  return new Command("train")
    .description(
      "Train a model and write its documents: deployment.json, which is public, and head.json, which stays with the model service",
    )
    .requiredOption("--out <folder>", "where the documents go")
    .addOption(shared.replay())
    .addOption(shared.set())
    .addOption(shared.seed())
    .addOption(shared.keyMode())
    .addOption(shared.privacy())
    .addOption(shared.maxMerges())
    .addOption(shared.lanes())
    .addOption(shared.precision())
    .addOption(shared.wholeReplies())
    .addOption(shared.json())
    .action(train);
}

async function train({ out, replay, set, seed, keyMode, privacy, maxMerges, lanes: leastLanes, ...options }: TrainOptions): Promise<void> {
  const { precision, wholeReplies, json } = options;
  const scenario =
    replay === undefined
      ? fleetScenario({ seed, machines: 1, gateways: 1, steps: 24, paceMs: 0 })
      : await cmapssScenario(resolve(replay), set, 1);
  const { featureSet, candidate } = await scenario.train((text, fraction) => {
    process.stderr.write(`${String(Math.round(100 * fraction)).padStart(3)} %  ${text}\n`);
  });
  const { deployment, heads, plan } = deploy({
    featureSet,
    candidates: [withPrecision(candidate, precision)],
    keyMode,
    maxMerges,
    modelPrivacy: privacy,
    leastLanes,
    replies: wholeReplies ? "whole" : "switched",
  });
  const files = { deployment: join(out, "deployment.json"), head: join(out, "head.json") };
  mkdirSync(out, { recursive: true });
  writeJsonFile(files.deployment, deployment);
  writeJsonFile(files.head, heads[0], 0o600);
  const { params, lanes, featureCount, floodBits, marginBits } = plan;
  const report = {
    ...files,
    featureSetId: documentId(featureSet),
    headId: documentId(heads[0]!),
    featureCount,
    n: params.n,
    qBits: residueBits(params),
    tBits: Math.log2(params.t),
    lanes,
    floodBits,
    marginBits,
    replyBits: plan.replies?.bits ?? residueBits(params),
    replyStep: plan.replies?.step ?? 1,
    ...candidate.card.training.metrics,
  };
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : `${listing(report)}\n`);
}

/** Names and values in two columns. */
export function listing(report: Readonly<Record<string, string | number>>): string {
  const width = Math.max(...Object.keys(report).map((name) => name.length));
  return Object.entries(report)
    .map(([name, value]) => `${name.padEnd(width)}  ${value}`)
    .join("\n");
}
