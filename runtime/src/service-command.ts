import { dirname, resolve } from "node:path";
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { PipelineError } from "@smile/errors/pipeline-error";
import { collectSeldom } from "./collections.ts";
import type { Environment } from "./config.ts";
import { type ExitCode, exitCodes, runService, type Service, stopOnSignals } from "./lifecycle.ts";
import { createLogger, type Logger, type LogLevel, silentLogger } from "./logging.ts";

/** What a service's `start` is given. */
export type ServiceContext = {
  /** Path of the configuration file, and the folder that relative paths in it start from. */
  readonly configFile: string;
  readonly folder: string;
  readonly env: Environment;
  /** The service's logger at the level of its configuration. */
  readonly logger: (level: LogLevel) => Logger;
  readonly signal: AbortSignal;
  /** Values of the command's own options. */
  readonly values: Readonly<Record<string, string | boolean | undefined>>;
};

/** One long-running service as a command line: `--config FILE`, `--help`, and options of its own. */
export type ServiceCommand = {
  readonly name: string;
  readonly summary: string;
  /** Help on configuration keys and own options, one per line. */
  readonly details: string;
  readonly options?: ParseArgsOptionsConfig;
  readonly start: (context: ServiceContext) => Promise<Service>;
};

/**
 * Runs a service from its command line until its work ends or SIGINT or SIGTERM asks it to stop.
 * @param argv without node and script
 * @returns the exit code; a `main.ts` passes it to `process.exit`
 */
export async function runServiceCommand(command: ServiceCommand, argv: readonly string[], env: Environment): Promise<ExitCode> {
  const usage = `Usage: smile ${command.name} --config FILE\n\n${command.summary}\n\n  --config FILE  JSON; relative paths start from its folder\n${command.details}\n  --help         this text\n`;
  let values: Record<string, string | boolean | undefined>;
  try {
    const options: ParseArgsOptionsConfig = { ...command.options, config: { type: "string" }, help: { type: "boolean" } };
    values = parseArgs({ args: [...argv], options }).values as typeof values;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`);
    return exitCodes.misconfigured;
  }
  if (values.help) {
    process.stdout.write(usage);
    return exitCodes.stopped;
  }
  collectSeldom();
  using signals = stopOnSignals(process);
  // Until the configuration is read nobody collects log lines: what is wrong with it is told to the person at the terminal.
  let logger = silentLogger();
  const start = async (signal: AbortSignal) => {
    try {
      if (typeof values.config !== "string") throw new PipelineError("CONFIG_INVALID", "--config names no file");
      return await command.start({
        configFile: values.config,
        folder: dirname(resolve(values.config)),
        env,
        logger: (level) => {
          logger = createLogger({ service: command.name, level });
          return logger;
        },
        signal,
        values,
      });
    } catch (error) {
      process.stderr.write(`smile ${command.name}: ${error instanceof Error ? error.message : String(error)}\n`);
      throw error;
    }
  };
  // Awaited here: the signals are let go of when this function returns.
  return await runService(start, {
    signal: signals.signal,
    get logger() {
      return logger;
    },
  });
}
