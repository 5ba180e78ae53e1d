import { dirname, resolve } from "node:path";
import type { Job } from "@smile/edge-agent/jobs/job-store";
import { openSource } from "@smile/edge-agent/jobs/open-source";
import { readSourceSettings } from "@smile/edge-agent/jobs/source-config";
import { giveWay } from "@smile/runtime/give-way";
import { createLogger, silentLogger } from "@smile/runtime/logging";
import { report } from "../plant/report.ts";
import { jobFacts, jobLine } from "./job-facts.ts";

export type RunElsewhereOptions = {
  readonly data: string;
  readonly config: string;
  readonly job?: string;
  readonly verbose?: boolean;
  readonly json?: boolean;
};

const say = (text: string) => void process.stderr.write(`${text}\n`);

/** `smile segment run --config`: against services that run elsewhere. Exit code 1 unless every frame is acknowledged in the end. */
export async function runElsewhere({ data, config, job: jobId, verbose, json }: RunElsewhereOptions, signal: AbortSignal): Promise<void> {
  giveWay();
  const beganMs = performance.now();
  const settings = readSourceSettings(config, process.env);
  const logger = verbose ? createLogger({ service: "segment-source", level: settings.logLevel }) : silentLogger();
  await using opened = openSource(settings, { folder: dirname(resolve(config)), env: process.env, logger });
  const { source } = opened;
  const waiting = source.jobs().filter(({ state }) => state === "running");
  for (const each of jobId === undefined ? waiting : [])
    say(`waits to go on, by --job ${each.jobId}: ${each.acknowledged} of ${each.frameCount} frames`);

  const options = { signal, onProgress: tellProgress() };
  const job = await (jobId === undefined ? source.runNew(resolve(data), options) : source.goOn(jobId, resolve(data), options));
  const seconds = Math.round((performance.now() - beganMs) / 100) / 10;
  report(json, { ...jobFacts(job), seconds }, [jobLine(job)], nextStep(job, config));
  if (job.state !== "done") process.exitCode = 1;
}

function nextStep({ jobId, state }: Job, config: string): string {
  const goOn = `\`smile segment run --config ${config} --data FILE --job ${jobId}\``;
  if (state === "done") return "at the console: `smile segment jobs`, then `smile segment request`";
  if (state === "paused") return `it was paused; \`smile segment resume ${jobId}\` and ${goOn}`;
  return state === "cancelled" ? "it was cancelled; begin another" : `it was stopped; ${goOn}`;
}

/** Tells the id at once, since a crash is gone on from by it, and then each tenth once. */
function tellProgress(): (job: Job) => void {
  let next: number | undefined;
  return ({ jobId, acknowledged, frameCount }) => {
    const share = acknowledged / frameCount;
    if (next === undefined) say(`job ${jobId}`);
    else if (share >= next) say(`${String(Math.floor(100 * share)).padStart(3)} % of the frames are acknowledged`);
    else return;
    next = Math.floor(10 * share + 1) / 10;
  };
}
