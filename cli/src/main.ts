#!/usr/bin/env node
import { isPipelineError } from "@smile/errors/pipeline-error";
import { exitCodes, stopOnSignals } from "@smile/runtime/lifecycle";
import { runServiceCommand, type ServiceCommand } from "@smile/runtime/service-command";
import { Command } from "commander";
import { codeVersion } from "./code-version.ts";

// Loaded only when they are asked for: a gateway need not read the trainer, nor `smile plant` the brokers.
const services: Readonly<Record<string, () => Promise<ServiceCommand>>> = {
  "edge-agent": async () => (await import("@smile/edge-agent/command")).edgeAgentCommand,
  "stream-processor": async () => (await import("@smile/stream-processor/command")).streamProcessorCommand,
  "model-service": async () => (await import("@smile/model-service/command")).modelServiceCommand,
  "plant-console": async () => (await import("@smile/plant-console/command")).plantConsoleCommand,
};
const commands: Readonly<Record<string, (signal: AbortSignal) => Promise<Command>>> = {
  demo: async (signal) => (await import("./demo-command.ts")).demoCommand(signal),
  train: async () => (await import("./train-command.ts")).trainCommand(),
  plant: async (signal) => (await import("./plant-command.ts")).plantCommand(signal),
  service: async () => (await import("./operator/service-command.ts")).serviceCommand(),
  audit: async () => (await import("./audit-command.ts")).auditCommand(),
  segment: async (signal) => (await import("./segment-command.ts")).segmentCommand(signal),
  simulate: async (signal) => (await import("./simulate-command.ts")).simulateCommand(signal),
  kafka: async (signal) => (await import("./kafka-command.ts")).kafkaCommand(signal),
};
const wanted = process.argv[2] ?? "";

// A service parses its own arguments and listens to signals itself: it is what its main.ts runs, too.
const service = services[wanted];
if (service !== undefined) process.exit(await runServiceCommand(await service(), process.argv.slice(3), process.env));

// Whoever reads our output may have seen enough: `smile simulate | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(exitCodes.stopped);
  throw error;
});

using signals = stopOnSignals(process);
const program = new Command("smile")
  .description("Homomorphically encrypted scoring of sensor streams and record batches")
  .version(codeVersion);
const command = commands[wanted];
if (command !== undefined) program.addCommand(await command(signals.signal));
else {
  for (const load of Object.values(commands)) program.addCommand(await load(signals.signal));
  for (const load of Object.values(services)) {
    const { name, summary } = await load();
    program.command(name).description(summary);
  }
}

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
