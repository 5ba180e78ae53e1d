import type { Job } from "@smile/edge-agent/jobs/job-store";

/** A job as commands tell it. */
export function jobFacts(job: Job) {
  const { jobId, state, records, frameCount, acknowledged, missing, unknown, startedAtMs, fileHash } = job;
  const percent = Math.floor((100 * acknowledged) / frameCount);
  const started = new Date(startedAtMs).toISOString();
  return { jobId, state, records, frames: frameCount, acknowledged, percent, missing, unknown, started, fileHash };
}

/** One line for people. */
export function jobLine(job: Job): string {
  const { jobId, state, records, frames, acknowledged, percent, missing, unknown, started } = jobFacts(job);
  const gaps = `${missing} values missing, ${unknown} unknown to the feature set`;
  return `${jobId}  ${state}, ${percent} %: ${acknowledged} of ${frames} frames of ${records} records since ${started}; ${gaps}`;
}
