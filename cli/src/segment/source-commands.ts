import { dirname, resolve } from "node:path";
import { JobSource } from "@smile/edge-agent/jobs/job-source";
import type { Job } from "@smile/edge-agent/jobs/job-store";
import { segmentScheduleCommand } from "@smile/edge-agent/jobs/schedule-command";
import { configuredSource, readSourceSettings } from "@smile/edge-agent/jobs/source-config";
import { silentLogger } from "@smile/runtime/logging";
import { runServiceCommand } from "@smile/runtime/service-command";
import { Command } from "commander";
import { shared } from "../options.ts";
import { report } from "../plant/report.ts";
import { jobFacts, jobLine } from "./job-facts.ts";
import { jobId, segmentOptions } from "./segment-options.ts";

type Options = { readonly config: string; readonly json?: boolean };
type ScheduleOptions = Options & { readonly data: string; readonly cron: string; readonly timezone?: string; readonly onceNow?: boolean };

const steps = {
  pause: {
    description: "Stop a job at its next frame, whoever sends it; it can be resumed",
    next: (id: string) => `\`smile segment resume ${id}\` when it may go on`,
  },
  resume: {
    description: "Let a paused job go on: a schedule that runs takes it up within seconds; without one, run it by --job",
    next: (id: string) => `without a schedule: \`smile segment run --config FILE --data FILE --job ${id}\``,
  },
  cancel: {
    description: "End a job for good and forget whose records it holds; frames that went stay at the service until its own retention ends",
    next: () => undefined,
  },
} as const;

/** Commands at the organisation's source of records. */
export function sourceCommands(): Command[] {
  return [
    new Command("schedule")
      .description(
        "Send a file as a job at the times of a schedule, and go on with what a crash left: a service that runs until it is stopped",
      )
      .addOption(segmentOptions.sourceConfig())
      .requiredOption("--data <file>", "CSV with a header, one record per person; read anew at each time")
      .requiredOption("--cron <text>", 'when: minute, hour, day, month, weekday; "0 6 * * 1" is Mondays at six')
      .option("--timezone <name>", "of these times, such as Europe/Berlin; default: this machine's")
      .option("--once-now", "begin a job at the start, too")
      .addHelpText("after", '\nExample: smile segment schedule --config segment-source.json --data people.csv --cron "0 6 * * 1"')
      .action(async ({ config, data, cron, timezone, onceNow }: ScheduleOptions) => {
        const zone = timezone === undefined ? [] : ["--timezone", timezone];
        const args = ["--config", config, "--data", data, "--cron", cron, ...zone, ...(onceNow ? ["--once-now"] : [])];
        process.exitCode = await runServiceCommand(segmentScheduleCommand, args, process.env);
      }),

    ...(["pause", "resume", "cancel"] as const).map((step) =>
      new Command(step)
        .description(steps[step].description)
        .argument("<job>", "the job's id", jobId)
        .addOption(segmentOptions.sourceConfig())
        .addOption(shared.json())
        .addHelpText("after", `\nExample: smile segment ${step} JOB --config segment-source.json`)
        .action((id: string, { config, json }: Options) => {
          using source = openJobs(config);
          const job = source[step](id);
          report(json, jobFacts(job), [jobLine(job)], steps[step].next(id));
        }),
    ),

    new Command("status")
      .description("How far the source's jobs are: their state, frames acknowledged, values that were missing or unknown")
      .argument("[job]", "only this one", jobId)
      .addOption(segmentOptions.sourceConfig())
      .addOption(shared.json())
      .addHelpText("after", "\nExample: smile segment status --config segment-source.json")
      .action((id: string | undefined, { config, json }: Options) => {
        using source = openJobs(config);
        const jobs: Job[] = id === undefined ? source.jobs() : [source.job(id)];
        if (json) process.stdout.write(`${JSON.stringify({ jobs: jobs.map(jobFacts) })}\n`);
        else process.stdout.write(jobs.length === 0 ? "no jobs yet\n" : `${jobs.map(jobLine).join("\n")}\n`);
      }),
  ];
}

/** Without certificates: nothing is sent. */
function openJobs(config: string): JobSource {
  const settings = readSourceSettings(config, process.env);
  return new JobSource(configuredSource(settings, dirname(resolve(config)), process.env), { logger: silentLogger() });
}
