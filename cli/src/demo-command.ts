import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { createLogger, silentLogger } from "@smile/runtime/logging";
import { type CmapssSet, cmapssSets } from "@smile/simulators/cmapss";
import { Command, InvalidArgumentError, Option } from "commander";
import { cmapssScenario } from "./demo/cmapss-scenario.ts";
import { fleetScenario } from "./demo/fleet-scenario.ts";
import { run } from "./demo/run.ts";
import { liveScreen, plainScreen, summary } from "./demo/screen.ts";

type DemoOptions = {
  replay?: string;
  set: CmapssSet;
  machines: number;
  gateways: number;
  steps: number;
  pace: number;
  seed: number;
  keyMode: "public" | "symmetric";
  privacy: "compact" | "sanitised";
  maxMerges: number;
  keep?: string;
  verbose?: boolean;
  json?: boolean;
};

/** `smile demo` */
export function demoCommand(signal: AbortSignal): Command {
  return new Command("demo")
    .description("Stream machines through the whole encrypted pipeline in this process, and show what the plant decrypts")
    .option(
      "--replay <folder>",
      "NASA's turbofan data instead of the simulated fleet: a folder with train_, test_ and RUL_ files (.txt or .txt.gz)",
    )
    .addOption(new Option("--set <name>", "which set of the folder").choices(cmapssSets).default("FD001"))
    .option("--machines <n>", "simulated machines", whole(1, 100_000), 96)
    .option("--gateways <n>", "gateways that share the machines", whole(1, 64), 6)
    .option("--steps <n>", "simulated hours", whole(24, 100_000), 320)
    .option("--pace <ms>", "time between two simulated hours; 0 is as fast as it goes", whole(0, 60_000), 40)
    .option("--seed <n>", "seed of the simulation", whole(0, 2 ** 31), 7)
    .addOption(
      new Option("--key-mode <mode>", "public: one key for the plant; symmetric: one per gateway, half the bytes")
        .choices(["public", "symmetric"])
        .default("public"),
    )
    .addOption(
      new Option("--privacy <profile>", "of the model: compact (N = 2048 where it fits) or sanitised (N = 4096, 2^30 flooding)")
        .choices(["compact", "sanitised"])
        .default("compact"),
    )
    .option("--max-merges <n>", "frames added into one ciphertext at most", whole(1, 64), 8)
    .option("--keep <folder>", "keep the log, the spools and the console's store there; it must not hold an earlier run")
    .option("--verbose", "log lines of all services on standard error")
    .option("--json", "only the report, as one JSON object on the last line")
    .action((options: DemoOptions) => demo(options, signal));
}

async function demo(options: DemoOptions, signal: AbortSignal): Promise<void> {
  const { json, keyMode, privacy, maxMerges, verbose } = options;
  const scenario =
    options.replay === undefined
      ? fleetScenario({ ...options, paceMs: options.pace })
      : await cmapssScenario(resolve(options.replay), options.set, options.gateways);
  const folder = options.keep === undefined ? await mkdtemp(join(tmpdir(), "smile-demo-")) : await emptyFolder(resolve(options.keep));
  try {
    const live = !json && process.stdout.isTTY === true;
    using screen = live ? liveScreen(scenario, process.stdout) : plainScreen(scenario, process.stderr);
    const logger = verbose ? createLogger({ service: "demo" }) : silentLogger();
    const report = await run({ scenario, plant: "demo-plant", keyMode, modelPrivacy: privacy, maxMerges, folder, logger, signal }, screen);
    screen[Symbol.dispose]();
    process.stdout.write(json ? `${JSON.stringify(report)}\n` : `${summary(report)}\n`);
    if (report.lost + report.duplicated + report.mismatches > 0) process.exitCode = 1;
  } finally {
    if (options.keep === undefined) await rm(folder, { recursive: true, force: true });
  }
}

async function emptyFolder(path: string): Promise<string> {
  const { mkdir, readdir } = await import("node:fs/promises");
  await mkdir(path, { recursive: true });
  if ((await readdir(path)).length > 0) throw new PipelineError("CONFIG_INVALID", `--keep: ${path} is not empty`, { path });
  return path;
}

/** A whole number of a range, for commander. */
function whole(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < least || value > most)
      throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
    return value;
  };
}
