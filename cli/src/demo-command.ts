import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { createLogger, silentLogger } from "@smile/runtime/logging";
import type { CmapssSet } from "@smile/simulators/cmapss";
import { Command } from "commander";
import { cmapssScenario } from "./demo/cmapss-scenario.ts";
import { fleetScenario } from "./demo/fleet-scenario.ts";
import type { Report } from "./demo/report.ts";
import { type RunListener, run } from "./demo/run.ts";
import type { Scenario } from "./demo/scenario.ts";
import { liveScreen, plainScreen, summary } from "./demo/screen.ts";
import { shared } from "./options.ts";

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
  precision: number;
  keep?: string;
  verbose?: boolean;
  json?: boolean;
};

/** `smile demo` */
export function demoCommand(signal: AbortSignal): Command {
  return new Command("demo")
    .description("Stream machines through the whole encrypted pipeline in this process, and show what the plant decrypts")
    .addOption(shared.replay())
    .addOption(shared.set())
    .addOption(shared.machines())
    .addOption(shared.gateways())
    .addOption(shared.steps())
    .addOption(shared.pace(40))
    .addOption(shared.seed())
    .addOption(shared.keyMode())
    .addOption(shared.privacy())
    .addOption(shared.maxMerges())
    .addOption(shared.precision())
    .option("--keep <folder>", "keep the log, the spools and the console's store there; it must not hold an earlier run")
    .option("--verbose", "log lines of all services on standard error")
    .addOption(shared.json())
    .action((options: DemoOptions) => demo(options, signal));
}

async function demo(options: DemoOptions, signal: AbortSignal): Promise<void> {
  const { json, keyMode, privacy, maxMerges, precision, verbose } = options;
  const scenario =
    options.replay === undefined
      ? fleetScenario({ ...options, paceMs: options.pace })
      : await cmapssScenario(resolve(options.replay), options.set, options.gateways);
  const folder = options.keep === undefined ? await mkdtemp(join(tmpdir(), "smile-demo-")) : await emptyFolder(resolve(options.keep));
  try {
    const report = await show(scenario, !json && process.stdout.isTTY === true, (screen) => {
      const logger = verbose ? createLogger({ service: "demo" }) : silentLogger();
      const request = { scenario, plant: "demo-plant", keyMode, modelPrivacy: privacy, maxMerges, precision, folder, logger, signal };
      return run(request, screen);
    });
    process.stdout.write(json ? `${JSON.stringify(report)}\n` : `${summary(report, process.stdout.isTTY === true)}\n`);
    if (report.lost + report.duplicated + report.mismatches > 0) process.exitCode = 1;
  } finally {
    if (options.keep === undefined) await rm(folder, { recursive: true, force: true });
  }
}

async function show(scenario: Scenario, live: boolean, watch: (screen: RunListener) => Promise<Report>): Promise<Report> {
  using screen = live ? liveScreen(scenario, process.stdout) : plainScreen(scenario, process.stderr);
  return await watch(screen);
}

async function emptyFolder(path: string): Promise<string> {
  await mkdir(path, { recursive: true });
  if ((await readdir(path)).length > 0) throw new PipelineError("CONFIG_INVALID", `--keep: ${path} is not empty`, { path });
  return path;
}
