import { PipelineError } from "@smile/errors/pipeline-error";
import type { JobName, JobStore } from "./job-store.ts";
import type { Results } from "./release.ts";
import { releasable } from "./release-rules.ts";

/** What may be shown of a job, before anybody asked or released. */
export type JobResults = {
  readonly results: Results;
  /** Each a list of segments that are shown as one, ascending. */
  readonly groups: readonly (readonly number[])[];
  readonly withheld: readonly number[];
  /** [K] People per segment. */
  readonly sizes: readonly number[];
};

/** The smallest group that is shown, and which segments are near which: see `releasable`. */
export type ShowRules = { readonly minimum: number; readonly nearness: readonly (readonly number[])[] };

/**
 * What may be shown of a job that is whole: every record answered once, by one answer. Whether earlier releases forbid it is not asked
 * here: an analyst who could ask that without a second key could learn by it what was not released.
 * @throws {PipelineError} JOB_INCOMPLETE; RECORDS_TOO_FEW when nothing of it may be shown; FILE_MISSING for a job that is not here
 */
export function resultsOf(jobs: JobStore, plant: string, name: JobName, { minimum, nearness }: ShowRules): JobResults {
  const { jobId, headId } = name;
  const missing = jobs.missing(name).length;
  const { contradictions } = jobs.state(name)!;
  if (missing > 0) throw incomplete(jobId, `${missing} of its frames are not answered`, { missing });
  if (contradictions > 0) throw incomplete(jobId, `${contradictions} records were answered twice, each time otherwise`, { contradictions });
  const sizes = jobs.sizes(name);
  const { groups, withheld, total } = releasable({ sizes, minimum, nearness });
  if (total === null || groups.length === 0) {
    const what = `job ${jobId} has no group of ${minimum} people or more that may be shown`;
    throw new PipelineError("RECORDS_TOO_FEW", what, { jobId, minimum });
  }
  const resultsHash = jobs.resultsHash(name);
  const results = { plant, jobId, headId, resultsHash, people: total, groups: groups.length, withheld: withheld.length, minimum };
  return { results, groups, withheld, sizes };
}

export function incomplete(jobId: string, why: string, facts: Record<string, number> = {}): PipelineError {
  return new PipelineError("JOB_INCOMPLETE", `job ${jobId} is not whole: ${why}`, { jobId, ...facts });
}
