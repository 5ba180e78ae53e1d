import { shippedMappings } from "@smile/edge-agent/jobs/record-mapping";
import { InvalidArgumentError, Option } from "commander";
import { whole } from "../options.ts";

const several = whole(2, 64);

/** Options that several commands on segments share. */
export const segmentOptions = {
  features: () =>
    new Option("--features <set>", `mapping of the columns: ${Object.keys(shippedMappings).join(", ")}, or a JSON file`).default(
      "ibm-hr-attrition",
    ),
  segments: () =>
    new Option("--segments <k>", "number of segments, or auto: as many as the records speak for; none with fewer than ten people")
      .argParser((text: string): number | "auto" => (text === "auto" ? text : several(text)))
      .default(5),
  seed: () => new Option("--seed <n>", "seed of the training").argParser(whole(0, 2 ** 31)).default(1),
  sourceConfig: () => new Option("--config <file>", "the source's configuration").default("segment-source.json"),
};

/** A job's id, as it was told when the job began. */
export function jobId(text: string): string {
  if (/^[A-Za-z0-9_-]{1,64}$/.test(text)) return text;
  throw new InvalidArgumentError("It must be a job's id, as `smile segment status` lists them.");
}
