#!/usr/bin/env node
import { isPipelineError } from "@smile/errors/pipeline-error";
import { exitCodes, stopOnSignals } from "@smile/runtime/lifecycle";
import { Command } from "commander";
import { codeVersion } from "./code-version.ts";
import { demoCommand } from "./demo-command.ts";

using signals = stopOnSignals(process);
const program = new Command("smile")
  .description("Homomorphically encrypted scoring of sensor streams and record batches")
  .version(codeVersion);
program.addCommand(demoCommand(signals.signal));

try {
  await program.parseAsync();
  process.exit();
} catch (error) {
  if (signals.signal.aborted) process.exit(exitCodes.failed);
  process.stderr.write(`smile: ${isPipelineError(error) ? error.message : error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(exitCodes.failed);
}
