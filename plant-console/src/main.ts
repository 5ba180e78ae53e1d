#!/usr/bin/env node
import { parseArgs } from "node:util";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { exitCodes, runService, stopOnSignals } from "@smile/runtime/lifecycle";
import { createLogger } from "@smile/runtime/logging";
import { loadConsoleConfig } from "./config.ts";
import { startConfiguredConsole } from "./configured-console.ts";
import { alertJson, alertLine } from "./print.ts";

const help = `Usage: plant-console --config <file> [--json]

Receives the encrypted scores of one plant, decrypts them, stores risks and alerts,
and prints one line per alert that is raised or cleared.

  -c, --config <file>  JSON: plant, mqtt.url, deployment, keystore, leases, store
      --json           one JSON object per alert on standard output
  -h, --help           this text

The environment wins over the file: SMILE_PLANT, SMILE_MQTT_URL, SMILE_MQTT_CLIENT_ID,
SMILE_DEPLOYMENT, SMILE_KEYSTORE, SMILE_LEASES, SMILE_STORE.
Logs go to standard error. Exit codes: 0 stopped, 1 failed, 2 stopped too late,
78 misconfigured.`;

process.exit(await main(process.argv.slice(2)));

async function main(args: string[]): Promise<number> {
  let flags: { config?: string | undefined; json?: boolean | undefined; help?: boolean | undefined };
  try {
    flags = parseArgs({
      args,
      options: { config: { type: "string", short: "c" }, json: { type: "boolean" }, help: { type: "boolean", short: "h" } },
    }).values;
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${help}`);
    return exitCodes.misconfigured;
  }
  if (flags.help) {
    console.log(help);
    return exitCodes.stopped;
  }
  const logger = createLogger({ service: "plant-console" });
  using signals = stopOnSignals(process);
  try {
    const config = loadConsoleConfig(flags.config, process.env);
    const print = flags.json ? alertJson : alertLine;
    return await runService(
      () => startConfiguredConsole(config, { logger, onAlert: (event, { cards }) => console.log(print(event, cards)) }),
      { signal: signals.signal, logger },
    );
  } catch (error) {
    if (!isPipelineError(error)) throw error;
    logger.error({ err: error }, "cannot start");
    return exitCodes.misconfigured;
  }
}
