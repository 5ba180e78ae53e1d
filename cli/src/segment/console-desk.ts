import { userInfo } from "node:os";
import { PipelineError } from "@smile/errors/pipeline-error";
import { loadSegmentConsoleConfig, type SegmentConsoleConfig } from "@smile/plant-console/segments/config";
import { type JobName, JobStore } from "@smile/plant-console/segments/job-store";
import { readSegmentDocuments, type SegmentDocuments } from "@smile/plant-console/segments/segment-files";
import { type AuditLog, openAuditLog } from "@smile/runtime/audit-log";

/** What a person at the HR console works on. */
export type ConsoleDesk = Disposable & {
  readonly config: SegmentConsoleConfig;
  readonly documents: SegmentDocuments;
  readonly jobs: JobStore;
  readonly audit: AuditLog;
  /** The person, as this computer knows them. */
  readonly by: string;
};

/**
 * Opens store and audit log of a console, beside the service that runs.
 * @throws {PipelineError} as the configuration, its documents, store and audit log do
 */
export function openConsoleDesk(configFile: string): ConsoleDesk {
  const config = loadSegmentConsoleConfig(configFile, process.env);
  const documents = readSegmentDocuments(config, process.env);
  const by = userInfo().username;
  using opened = new DisposableStack();
  const jobs = opened.use(new JobStore({ path: config.store, plant: config.plant }));
  const audit = opened.use(openAuditLog({ path: config.audit, actor: `smile segment ${config.plant}` }));
  const owned = opened.move();
  return { config, documents, jobs, audit, by, [Symbol.dispose]: () => owned.dispose() };
}

/**
 * The answers of a job that are meant: by the only head that answered it.
 * @throws {PipelineError} JOB_UNKNOWN when nothing of it is here; CONFIG_INVALID when several heads answered and none is named
 */
export function jobNamed({ jobs }: Pick<ConsoleDesk, "jobs">, jobId: string, headId?: string): JobName {
  const here = jobs.list().filter((name) => name.jobId === jobId && (headId === undefined || name.headId === headId));
  if (here.length === 1) return here[0]!;
  if (here.length > 1)
    throw new PipelineError("CONFIG_INVALID", `job ${jobId} was answered by several heads: name one with --head`, { jobId });
  const what = jobs.isDeleted(jobId) ? "was deleted" : "has no answers here";
  throw new PipelineError("JOB_UNKNOWN", `job ${jobId} ${what}`, { jobId });
}
