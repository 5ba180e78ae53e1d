import { randomUUID } from "node:crypto";
import { rmSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";
import { featureCount } from "@smile/features/feature-count";
import { type AuditLog, openAuditLog } from "@smile/runtime/audit-log";
import type { Logger } from "@smile/runtime/logging";
import { peoplePath, writePeopleFile } from "@smile/runtime/people-file";
import { lockForProcess } from "@smile/runtime/process-lock";
import type { TlsSource } from "@smile/runtime/tls-files";
import { frameFormat } from "../frame-format.ts";
import { type AgentKeys, readKeys } from "../key-files.ts";
import { openMqttFrameSender } from "../mqtt-frame-sender.ts";
import { readRegister } from "../plant-pin.ts";
import { passRecords, readCsvRecords } from "./csv-records.ts";
import { runJob } from "./job-sender.ts";
import { type Job, type JobContent, JobStore } from "./job-store.ts";
import { KeyWatch } from "./key-watch.ts";
import { openPseudonymKey } from "./pseudonyms.ts";
import type { ConfiguredSource } from "./source-config.ts";
import { surveyPeople } from "./survey-people.ts";

export type RunOptions = {
  /** Stops; the job may be gone on with. */
  readonly signal: AbortSignal;
  /** Told when the job is in the store and its first frame may go, and whenever acknowledgements became durable. */
  readonly onProgress?: (job: Job) => void;
};

/**
 * A source of records: jobs of files against services that run elsewhere. Several processes may hold the same source; one of them sends
 * at a time, the others pause, cancel and look.
 */
export class JobSource implements Disposable {
  readonly #source: ConfiguredSource;
  readonly #logger: Logger;
  readonly #tls: TlsSource | undefined;
  readonly #store: JobStore;
  readonly #audit: AuditLog;

  /** @throws {PipelineError} STORE_UNAVAILABLE, FILE_DAMAGED */
  constructor(source: ConfiguredSource, { logger, tls }: { readonly logger: Logger; readonly tls?: TlsSource | undefined }) {
    this.#source = source;
    this.#logger = logger;
    this.#tls = tls;
    using opened = new DisposableStack();
    this.#store = opened.use(new JobStore(source.store));
    this.#audit = openAuditLog({ path: source.audit, actor: `segment-source ${source.plant}/${source.gateway}` });
    opened.move();
  }

  [Symbol.dispose](): void {
    this.#audit[Symbol.dispose]();
    this.#store[Symbol.dispose]();
  }

  /** All jobs, oldest first. */
  jobs(): Job[] {
    return this.#store.jobs();
  }

  /** @throws {PipelineError} JOB_UNKNOWN */
  job(jobId: string): Job {
    return this.#store.job(jobId);
  }

  /** Whoever sends it stops at its next frame. @throws {PipelineError} JOB_UNKNOWN, JOB_ENDED */
  pause(jobId: string): Job {
    return this.#store.pause(jobId);
  }

  /**
   * Lets a paused job go on: a schedule that runs takes it up, otherwise `goOn` does.
   * @throws {PipelineError} JOB_UNKNOWN, JOB_ENDED; JOB_CHANGED when the configuration is another one than the job began with
   */
  resume(jobId: string): Job {
    const { plant, gateway } = this.#source;
    return this.#store.resume(jobId, { plant, gateway, ...this.#format() });
  }

  /** Ends it for good; of whom its records are is deleted. @throws {PipelineError} JOB_UNKNOWN, JOB_ENDED */
  cancel(jobId: string): Job {
    const job = this.#store.cancel(jobId);
    rmSync(peoplePath(this.#source.people, jobId), { force: true });
    this.#noteEnd(job);
    return job;
  }

  /**
   * Begins a job of a file and sends it.
   * @returns the job as it came to rest: done, paused or cancelled; running when `signal` stopped it
   * @throws {PipelineError} JOB_BUSY; what is wrong with the file (as `surveyPeople`), the keys (as `readKeys`) or the sending (as
   *   `runJob`); JOB_CHANGED or KEY_MISMATCH when a key goes out of force meanwhile; the signal's reason when it is aborted before the job has begun
   */
  async runNew(data: string, options: RunOptions): Promise<Job> {
    using _lock = this.#lock();
    const keys = readKeys(this.#source.keyFiles);
    const job = await this.#begin(data, keys, options.signal);
    return await this.#run(job, data, keys, options);
  }

  /**
   * Sends what is left of a job, which a crash, a stop or a pause interrupted.
   * @throws {PipelineError} as `runNew`; JOB_UNKNOWN, JOB_ENDED; JOB_CHANGED naming what is not as the job began: its file, its key
   */
  async goOn(jobId: string, data: string, options: RunOptions): Promise<Job> {
    using _lock = this.#lock();
    this.#store.job(jobId);
    const keys = readKeys(this.#source.keyFiles);
    const file = await passRecords(data, () => options.signal.throwIfAborted());
    const content = this.#content(file, keys);
    return await this.#run(this.#store.resume(jobId, content), data, keys, options);
  }

  async #begin(data: string, keys: AgentKeys, signal: AbortSignal): Promise<Job> {
    const { deployment, mapping, people, pseudonymKey } = this.#source;
    const { featureSet } = deployment;
    const key = openPseudonymKey(pseudonymKey);
    const { pseudonyms, permitted, ...file } = await surveyPeople(data, { mapping, featureSet, key }, signal);
    const content = this.#content(file, keys);
    const jobId = randomUUID();
    await writePeopleFile(peoplePath(people, jobId), { jobId, records: file.records }, pseudonyms);
    for (const { column, kind, reason } of permitted) this.#audit.append("column-permitted", { jobId, column, kind, reason });
    const { fileHash, records, featureSetId, keyId } = content;
    this.#audit.append("job-started", { jobId, fileHash, records, features: featureCount(featureSet), featureSetId, keyId });
    return this.#store.begin(jobId, content);
  }

  async #run(job: Job, data: string, keys: AgentKeys, { signal, onProgress }: RunOptions): Promise<Job> {
    const { plant, gateway, deployment, mqtt, withoutTls, keyFiles } = this.#source;
    const { jobId, fileHash } = job;
    const block = this.#block();
    const logger = this.#logger.child({ jobId });
    const { records, acknowledged, frameCount } = job;
    logger.info({ records, frameCount, acknowledged }, "a job begins, or goes on");
    onProgress?.(job);
    using watch = new KeyWatch(keyFiles, keys);
    await using sender = openMqttFrameSender({
      ...{ url: mqtt.url, plant, gateway, kind: "jobs", tls: this.#tls, withoutTls },
      logger: logger.child({ part: "mqtt" }),
      largestBytes: mqtt.largestEnvelopeBytes,
    });
    const ended = await runJob(
      {
        ...{ jobId, plant, gateway, deployment, ...keys, block, store: this.#store, sender, window: mqtt.window },
        records: () => readCsvRecords(data, fileHash),
        ...(onProgress && { onProgress }),
      },
      AbortSignal.any([signal, watch.ended]),
    );
    logger.info({ state: ended.state, acknowledged: ended.acknowledged, missing: ended.missing, unknown: ended.unknown }, "a job rests");
    if (ended.state === "done") this.#noteEnd(ended);
    if (ended.state === "running" && watch.ended.aborted) throw watch.ended.reason;
    return ended;
  }

  #noteEnd({ jobId, fileHash, records, state, acknowledged, frameCount }: Job): void {
    const features = featureCount(this.#source.deployment.featureSet);
    this.#audit.append("job-ended", { jobId, fileHash, records, features, state, acknowledged, frameCount });
  }

  #content(file: { readonly records: number; readonly fileHash: string }, { key }: AgentKeys): JobContent {
    const { plant, gateway } = this.#source;
    const { fileHash, records } = file;
    return { plant, gateway, fileHash, records, keyId: key.keyId, ...this.#format() };
  }

  #format(): Pick<JobContent, "featureSetId" | "paramsId" | "lanes"> {
    const { kind, lanes } = frameFormat(this.#source.plant, this.#source.deployment);
    return { featureSetId: kind.featureSetId, paramsId: kind.paramsId, lanes };
  }

  /**
   * Where the plant's register has leased lanes to this gateway.
   * @throws {PipelineError} CONFIG_INVALID when they are not a whole ciphertext's
   */
  #block(): number {
    const { plant, gateway, keyFiles, deployment } = this.#source;
    if (keyFiles.pin === undefined) return 0;
    const leased = readRegister(keyFiles.pin, plant).lanesOf(gateway);
    const { lanes } = deployment;
    if (leased !== undefined && leased.first % lanes === 0 && leased.count >= lanes) return leased.first / lanes;
    const what = `gateway ${gateway} has not the ${lanes} lanes of a ciphertext in the plant's register: add it with --records`;
    throw new PipelineError("CONFIG_INVALID", what, { gateway, lanes });
  }

  #lock(): Disposable {
    const { store } = this.#source;
    return lockForProcess(`${store}.lock`, () => new PipelineError("JOB_BUSY", `another process sends jobs of ${store}`, { store }));
  }
}
