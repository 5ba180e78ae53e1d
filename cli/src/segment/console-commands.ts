import { existsSync } from "node:fs";
import { accessesIn } from "@smile/plant-console/segments/accesses";
import { deleteJob } from "@smile/plant-console/segments/retention";
import { readAudit } from "@smile/runtime/audit-log";
import { peoplePath } from "@smile/runtime/people-file";
import { runServiceCommand } from "@smile/runtime/service-command";
import Table from "cli-table3";
import { Command } from "commander";
import { shared } from "../options.ts";
import { report } from "../plant/report.ts";
import { openConsoleDesk } from "./console-desk.ts";
import { consoleConfig } from "./console-options.ts";
import { releaseCommands } from "./release-commands.ts";

const DAY_MS = 86_400_000;
const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);

type Options = { readonly config: string; readonly json?: boolean };

/** Commands at the organisation's console, where segments are decrypted. */
export function consoleCommands(signal: AbortSignal): Command[] {
  return [
    new Command("console")
      .description(
        "Receive the encrypted scores of the organisation's jobs, decrypt and keep them: a service that runs until it is stopped",
      )
      .requiredOption("--config <file>", "segment-console.json, as `smile plant init` wrote it; keys in docs/operations.md")
      .addHelpText("after", "\nExample: smile segment console --config north/console/segment-console.json")
      .action(async ({ config }: Options) => {
        const { segmentConsoleCommand } = await import("@smile/plant-console/segments/command");
        process.exitCode = await runServiceCommand(segmentConsoleCommand, ["--config", config], process.env);
      }),

    new Command("jobs")
      .description("Which jobs are here, whether they are whole, and when they are deleted. No group of any of them is shown")
      .addOption(consoleConfig())
      .addOption(shared.json())
      .addHelpText("after", "\nExample: smile segment jobs --config segment-console.json")
      .action(listJobs),

    ...releaseCommands(signal),

    new Command("delete")
      .description(
        "Delete a job: its assignments, its people file, what reports showed. Who was in which released group stays, until its own retention ends",
      )
      .argument("<job>", "the job's id")
      .addOption(consoleConfig())
      .addOption(shared.json())
      .addHelpText("after", "\nExample: smile segment delete JOB --config segment-console.json")
      .action((jobId: string, options: Options) => {
        using desk = openConsoleDesk(options.config);
        const { jobs, audit, by, config } = desk;
        deleteJob({ jobs, audit, people: config.people }, { jobId, by, nowMs: Date.now() });
        report(options.json, { jobId, deleted: true }, [`job ${jobId} is deleted`], "delete the files of reports, and copies of backups");
      }),

    new Command("accesses")
      .description("Who looked at what, when and what for: for the people whom the records are about, and those who speak for them")
      .argument("[job]", "only this job")
      .addOption(consoleConfig())
      .addOption(shared.json())
      .addHelpText("after", "\nExample: smile segment accesses --config segment-console.json")
      .action((jobId: string | undefined, options: Options) => {
        using desk = openConsoleDesk(options.config);
        const accesses = [...accessesIn(readAudit(desk.config.audit), jobId)];
        const lines = accesses.map(
          ({ atMs, jobId: of, words }) => `${new Date(atMs).toISOString()}  ${of ?? "-"}  ${words.replace(/\p{C}/gu, " ")}`,
        );
        report(options.json, { accesses }, lines.length === 0 ? ["nobody looked at anything"] : lines);
      }),
  ];
}

function listJobs(options: Options): void {
  using desk = openConsoleDesk(options.config);
  const { jobs, config } = desk;
  const released = new Set(jobs.releases.all().map(({ jobId }) => jobId));
  const listed = jobs.list().map((name) => {
    const { frameCount, frames, records, duplicated, contradictions, atMs } = jobs.state(name)!;
    return {
      ...name,
      ...{ frames, frameCount, records, duplicated, contradictions },
      complete: frames === frameCount && contradictions === 0,
      people: existsSync(peoplePath(config.people, name.jobId)),
      shown: released.has(name.jobId),
      receivedAtMs: atMs,
      deletedAtMs: atMs + config.retentionDays * DAY_MS,
    };
  });
  const table = new Table({
    head: ["job", "records", "frames", "whole", "people file", "shown", "since", "deleted on"],
    style: { head: [], border: [] },
  });
  for (const { jobId, records, frames, frameCount, complete, people, shown, receivedAtMs, deletedAtMs } of listed) {
    const words = [complete, people, shown].map((is) => (is ? "yes" : "no"));
    table.push([jobId, records, `${frames} of ${frameCount}`, ...words, day(receivedAtMs), day(deletedAtMs)]);
  }
  report(options.json, { jobs: listed }, listed.length === 0 ? ["no job has come yet"] : [table.toString()]);
}
