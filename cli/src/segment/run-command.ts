import { Command, Option } from "commander";
import { shared, whole } from "../options.ts";
import type { RunElsewhereOptions } from "./run-elsewhere.ts";
import type { RunHereOptions } from "./run-here.ts";
import { jobId, segmentOptions } from "./segment-options.ts";

const elsewhere = ["config"];
const ownKind = ["features", "model", "segments", "minimum", "seed", "keyMode", "privacy"];

/** `smile segment run` */
export function segmentRunCommand(signal: AbortSignal): Command {
  const here = (option: Option) => option.conflicts(elsewhere);
  return new Command("run")
    .description(
      "Send a file's records as one encrypted job. With --config to services that run elsewhere, until each frame is acknowledged; without, through every service in this process, to show the groups that you decrypt: those that are too small are not shown",
    )
    .requiredOption("--data <file>", "CSV with a header, one record per person")
    .addOption(new Option("--config <file>", "the source's configuration: the services run elsewhere").conflicts(ownKind))
    .addOption(new Option("--job <id>", "goes on with this job instead of beginning one").argParser(jobId))
    .addOption(here(segmentOptions.features()))
    .addOption(here(new Option("--model <folder>", "what `smile segment train` wrote; without it a model is trained on the file first")))
    .addOption(here(segmentOptions.segments().conflicts("model")))
    .addOption(here(new Option("--minimum <n>", "smallest group that is shown").argParser(whole(10, 1_000_000)).default(10)))
    .addOption(here(segmentOptions.seed().conflicts("model")))
    .addOption(here(shared.keyMode().conflicts("model")))
    .addOption(here(shared.privacy().conflicts("model")))
    .addOption(here(new Option("--audit <file>", "audit log that permissions of sensitive columns are written to")))
    .option("--verbose", "log lines of all services on standard error")
    .addOption(shared.json())
    .addHelpText(
      "after",
      `
Examples: smile segment run --data employees.csv --features mapping.json --segments 5
          smile segment run --data employees.csv --config segment-source.json`,
    )
    .action(async (options: RunHereOptions & Partial<RunElsewhereOptions>, command: Command) => {
      const { config, job } = options;
      if (config === undefined && job !== undefined) command.error("error: option '--job <id>' needs '--config <file>'");
      // A source need not load the services.
      if (config === undefined) await (await import("./run-here.ts")).runHere(options, signal);
      else await (await import("./run-elsewhere.ts")).runElsewhere({ ...options, config }, signal);
    });
}
