import { once } from "node:events";
import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { CmapssSet } from "@smile/simulators/cmapss";
import { toNdjson } from "@smile/simulators/ndjson";
import { Command, Option } from "commander";
import { cmapssScenario } from "./demo/cmapss-scenario.ts";
import { fleetScenario } from "./demo/fleet-scenario.ts";
import { shared, whole } from "./options.ts";
import { printWorkforceMapping, simulateWorkforce } from "./simulate-workforce.ts";

type SimulateOptions = {
  replay?: string;
  set: CmapssSet;
  machines: number;
  steps: number;
  seed: number;
  pace: number;
  only?: string[];
  list?: boolean;
  workforce?: number;
  period: number;
  truth?: boolean;
  mapping?: boolean;
};

/** `smile simulate` */
export function simulateCommand(signal: AbortSignal): Command {
  return new Command("simulate")
    .description(
      'Write telemetry to standard output, one {"machine", "timeMs", "values"} per line, as an edge agent reads it; or with --workforce records of people as CSV',
    )
    .addOption(shared.replay())
    .addOption(shared.set())
    .addOption(shared.machines())
    .addOption(shared.steps())
    .addOption(shared.seed())
    .addOption(shared.pace(0))
    .option("--only <machines...>", "rows of these machines only")
    .option("--list", "names of the machines instead of rows, one per line")
    .addOption(
      new Option("--workforce <n>", "this many people with planted groups, instead of machines")
        .argParser(whole(1, 10_000_000))
        .conflicts(["replay", "only", "list"]),
    )
    .addOption(new Option("--period <n>", "of the workforce: some leave, some change, pay drifts").argParser(whole(0, 1000)).default(0))
    .option("--truth", "a last column planted_segment: the group that each person of the workforce was made from")
    .option("--mapping", "the mapping of the workforce's columns instead of its people")
    .addHelpText(
      "after",
      `
Examples: smile simulate --machines 8 --steps 400 | smile edge-agent --config edge-agent.json
          smile simulate --workforce 4000 > people.csv
          smile simulate --mapping > mapping.json`,
    )
    .action((options: SimulateOptions, command: Command) => {
      const { workforce: employees, mapping, seed, period, truth = false } = options;
      if (mapping) return printWorkforceMapping();
      if (employees !== undefined) return simulateWorkforce({ employees, seed, period, truth }, signal);
      if (truth) command.error("error: option '--truth' needs '--workforce <n>'");
      return simulate(options, signal);
    });
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
