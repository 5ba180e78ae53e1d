#!/usr/bin/env node
import { edgeAgentCommand } from "@smile/edge-agent/command";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { modelServiceCommand } from "@smile/model-service/command";
import { plantConsoleCommand } from "@smile/plant-console/command";
import { exitCodes, stopOnSignals } from "@smile/runtime/lifecycle";
import { runServiceCommand } from "@smile/runtime/service-command";
import { streamProcessorCommand } from "@smile/stream-processor/command";
import { Command } from "commander";
import { codeVersion } from "./code-version.ts";
import { demoCommand } from "./demo-command.ts";
import { kafkaCommand } from "./kafka-command.ts";
import { keysCommand } from "./keys-command.ts";
import { simulateCommand } from "./simulate-command.ts";
import { trainCommand } from "./train-command.ts";

const services = [edgeAgentCommand, streamProcessorCommand, modelServiceCommand, plantConsoleCommand];

// A service parses its own arguments and listens to signals itself: it is what its main.ts runs, too.
const service = services.find(({ name }) => name === process.argv[2]);
if (service !== undefined) process.exit(await runServiceCommand(service, process.argv.slice(3), process.env));

// Whoever reads our output may have seen enough: `smile simulate | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(exitCodes.stopped);
  throw error;
});

using signals = stopOnSignals(process);
const program = new Command("smile")
  .description("Homomorphically encrypted scoring of sensor streams and record batches")
  .version(codeVersion);
program.addCommand(demoCommand(signals.signal));
program.addCommand(trainCommand());
program.addCommand(keysCommand());
program.addCommand(simulateCommand(signals.signal));
program.addCommand(kafkaCommand(signals.signal));
for (const { name, summary } of services) program.command(name).description(summary);

try {
  await program.parseAsync();
  // A pipe takes what its reader has room for: the rest must be on its way before the process may end.
  await new Promise<void>((resolve) => process.stdout.write("", () => resolve()));
  process.exit();
} catch (error) {
  if (signals.signal.aborted) process.exit(exitCodes.failed);
  process.stderr.write(`smile: ${isPipelineError(error) ? error.message : error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(exitCodes.failed);
}
