import { once } from "node:events";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { CmapssSet } from "@smile/simulators/cmapss";
import { toNdjson } from "@smile/simulators/ndjson";
import { Command } from "commander";
import { cmapssScenario } from "./demo/cmapss-scenario.ts";
import { fleetScenario } from "./demo/fleet-scenario.ts";
import { shared } from "./options.ts";

type SimulateOptions = {
  replay?: string;
  set: CmapssSet;
  machines: number;
  steps: number;
  seed: number;
  pace: number;
  only?: string[];
  list?: boolean;
};

/** `smile simulate` */
export function simulateCommand(signal: AbortSignal): Command {
  return new Command("simulate")
    .description('Write telemetry to standard output, one {"machine", "timeMs", "values"} per line, as an edge agent reads it')
    .addOption(shared.replay())
    .addOption(shared.set())
    .addOption(shared.machines())
    .addOption(shared.steps())
    .addOption(shared.seed())
    .addOption(shared.pace(0))
    .option("--only <machines...>", "rows of these machines only")
    .option("--list", "names of the machines instead of rows, one per line")
    .action((options: SimulateOptions) => simulate(options, signal));
}

async function simulate({ replay, set, machines, steps, seed, pace, only, list }: SimulateOptions, signal: AbortSignal): Promise<void> {
  const scenario =
    replay === undefined
      ? fleetScenario({ seed, machines, gateways: 1, steps, paceMs: pace })
      : await cmapssScenario(resolve(replay), set, 1);
  if (list) {
    process.stdout.write(`${scenario.gateways.flatMap((gateway) => gateway.machines).join("\n")}\n`);
    return;
  }
  const wanted = only && new Set(only);
  for (const rows of scenario.steps()) {
    const lines = rows.filter(({ machine }) => wanted?.has(machine) ?? true).map((row) => `${toNdjson(row)}\n`);
    if (!process.stdout.write(lines.join(""))) await once(process.stdout, "drain", { signal });
    if (pace > 0) await delay(pace, undefined, { signal });
    signal.throwIfAborted();
  }
}
