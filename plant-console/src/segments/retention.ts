import { readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import type { AuditLog } from "@smile/runtime/audit-log";
import { peoplePath } from "@smile/runtime/people-file";
import type { JobStore } from "./job-store.ts";

const DAY_MS = 86_400_000;

export type Retention = {
  /** How long assignments, reports and people files are kept, from a job's first answer on. */
  readonly retentionDays: number;
  /** How long it is kept who was in which group of what was shown, from the showing on. */
  readonly differencingDays: number;
};

/** Where a job's traces are. */
export type Traces = { readonly jobs: JobStore /** Folder of the people files. */; readonly people: string; readonly audit: AuditLog };

/** Deletes a job, and its people file. The audit log tells of it before. */
export function deleteJob({ jobs, people, audit }: Traces, { jobId, by, nowMs }: { jobId: string; by: string; nowMs: number }): void {
  const path = peoplePath(people, jobId);
  audit.append("job-deleted", { jobId, by });
  jobs.delete(jobId, nowMs);
  rmSync(path, { force: true });
}

/**
 * Deletes every job whose retention has ended, people files of jobs that were never answered and are as old, and who was in which group
 * of what was shown so long ago that no release needs to be kept from being compared with it any more.
 * @returns ids of the jobs that were deleted, and how many releases were forgotten
 */
export function endRetention({ jobs, people, audit }: Traces, { retentionDays, differencingDays }: Retention, nowMs: number) {
  const before = nowMs - retentionDays * DAY_MS;
  const due = [...new Set(jobs.list().flatMap((name) => (jobs.state(name)!.atMs < before ? [name.jobId] : [])))];
  for (const jobId of due) {
    audit.append("retention-ended", { what: "job", jobId, retentionDays });
    jobs.delete(jobId, nowMs);
    rmSync(peoplePath(people, jobId), { force: true });
  }
  const answered = new Set(jobs.list().map(({ jobId }) => jobId));
  for (const jobId of jobIdsIn(people)) {
    const path = peoplePath(people, jobId);
    if (answered.has(jobId) || (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? nowMs) >= before) continue;
    audit.append("retention-ended", { what: "people file", jobId, retentionDays });
    rmSync(path, { force: true });
  }
  const forgotten = jobs.releases.forgetBefore(nowMs - differencingDays * DAY_MS);
  if (forgotten > 0) {
    audit.append("retention-ended", { what: "members of releases", releases: forgotten, differencingDays });
    jobs.overwrite();
  }
  return { jobIds: due, forgotten };
}

function jobIdsIn(folder: string): string[] {
  try {
    return readdirSync(join(folder)).flatMap((name) => /^([\w-]{1,64})\.people$/.exec(name)?.[1] ?? []);
  } catch {
    return []; // not made before the first job
  }
}
