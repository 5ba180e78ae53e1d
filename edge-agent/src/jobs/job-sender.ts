import type { KeyObject } from "node:crypto";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import { RecordEncoder, type RecordGaps } from "@smile/features/records/record-encoder";
import type { RecordValues } from "@smile/features/records/record-spec";
import { openEncryptor } from "@smile/he/open";
import type { WindowKey } from "../envelope-sealer.ts";
import { frameFormat } from "../frame-format.ts";
import type { FrameSender } from "../publisher.ts";
import { BoundedSending } from "./bounded-sending.ts";
import { type JobDeployment, type JobFrameParts, sealJobFrame } from "./job-frame.ts";
import type { Job, JobStore } from "./job-store.ts";

/** What running a job needs of the store. */
export type RunningJobStore = Pick<JobStore, "job" | "check" | "acknowledged" | "noteAcknowledged" | "finish">;

export type JobParts = {
  /** A job that was begun in the store. */
  readonly jobId: string;
  readonly plant: string;
  readonly gateway: string;
  readonly deployment: JobDeployment;
  readonly key: WindowKey;
  /** The gateway's Ed25519 secret key. */
  readonly signingKey: KeyObject;
  /** Whose lanes are the gateway's: the first of them over L. Default 0. */
  readonly block?: number;
  readonly store: RunningJobStore;
  readonly sender: FrameSender;
  /** All records of the job, in the file's order, from the first one on. */
  readonly records: () => AsyncIterable<RecordValues>;
  /** Frames under way at most. Default 16. */
  readonly window?: number;
  /** Before a frame that was not acknowledged is sent again. Default 1000. */
  readonly retryMs?: number;
  /** Told whenever acknowledgements became durable. */
  readonly onProgress?: (job: Job) => void;
  /** The gateway's clock, milliseconds since 1970. */
  readonly now?: () => number;
  /** Opens the encryptor of a key; tests pass their own. */
  readonly open?: typeof openEncryptor;
};

/** Acknowledgements become durable this many at a time. A crash before sends their frames again, under their old ids. */
const batch = 16;

/**
 * Sends the frames of a job that are not acknowledged yet: frame i holds records [i*L, (i+1)*L). Ends when all are acknowledged, when
 * the job's state in the store is no longer `running` (what is under way is waited for), when `signal` is aborted (it is not), or when
 * a frame fails for good. Whichever way, it may be run again. Memory is bounded by the frames under way.
 * @returns where the job stands; a state of `running` says that it was stopped, or resumed while it came to rest
 * @throws {PipelineError} JOB_UNKNOWN; JOB_CHANGED for another plant, gateway, feature set, parameters, key, lanes or number of records;
 *   KEY_MISMATCH, PLAN_REFUSED, DOCUMENT_INVALID; what `records`, the store, or the sender for good, throw
 */
export async function runJob(parts: JobParts, signal: AbortSignal): Promise<Job> {
  const { jobId, plant, gateway, deployment, key, signingKey, store, open = openEncryptor } = parts;
  const format = frameFormat(plant, deployment);
  const { featureSetId, paramsId } = format.kind;
  const job = store.check(jobId, { plant, gateway, featureSetId, paramsId, keyId: key.keyId, lanes: format.lanes });
  if (job.state !== "running") return job;
  using encryptor = await open(format.params, { mode: deployment.keyMode, bytes: key.bytes });
  return await new JobRun(parts, { job, format, block: parts.block ?? 0, encryptor, signingKey }).run(signal);
}

class JobRun {
  readonly #parts: JobParts;
  readonly #frame: JobFrameParts;
  readonly #encoder: RecordEncoder;
  readonly #over = new AbortController();
  /** Of frames that are not noted as acknowledged yet. */
  readonly #gaps = new Map<number, RecordGaps>();

  constructor(parts: JobParts, frame: JobFrameParts) {
    this.#parts = parts;
    this.#frame = frame;
    this.#encoder = new RecordEncoder(parts.deployment.featureSet);
  }

  async run(signal: AbortSignal): Promise<Job> {
    const { jobId, store, sender, window = 16, retryMs = 1000 } = this.#parts;
    const stop = AbortSignal.any([signal, this.#over.signal]);
    const sending = new BoundedSending(sender, { window, retryMs }, stop);
    try {
      await this.#sendFrames(sending, signal);
      await sending.drained();
    } catch (error) {
      // What was acknowledged before it failed is not sent again; if that cannot be noted either, it is.
      this.#over.abort();
      this.#note(sending, { mustSucceed: false });
      throw error;
    }
    this.#over.abort();
    this.#note(sending, { mustSucceed: true });
    return store.finish(jobId);
  }

  async #sendFrames(sending: BoundedSending, signal: AbortSignal): Promise<void> {
    const { jobId, store, records, now = Date.now } = this.#parts;
    const { job, format } = this.#frame;
    const { position, beyond } = store.acknowledged(jobId);
    if (position === job.frameCount) return;

    const send = async (sequence: number, features: readonly Int32Array[]): Promise<boolean> => {
      await sending.room();
      if (sending.acknowledged >= batch) this.#note(sending, { mustSucceed: false });
      if (signal.aborted || store.job(jobId).state !== "running") return false;
      sending.start(sequence, sealJobFrame(this.#frame, sequence, features, now()));
      return true;
    };

    let count = 0;
    let features: Int32Array[] = [];
    let gaps = { missing: 0, unknown: 0 };
    for await (const record of records()) {
      if (signal.aborted) return;
      if (count === job.records) throw this.#otherCount();
      const sequence = Math.floor(count++ / format.lanes);
      if (sequence < position || beyond.has(sequence)) continue;
      const encoded = new Int32Array(this.#encoder.width);
      const { missing, unknown } = this.#encoder.encode(record, encoded);
      gaps = { missing: gaps.missing + missing, unknown: gaps.unknown + unknown };
      features.push(encoded);
      if (features.length < format.lanes) continue;
      this.#gaps.set(sequence, gaps);
      if (!(await send(sequence, features))) return;
      features = [];
      gaps = { missing: 0, unknown: 0 };
    }
    if (count < job.records) throw this.#otherCount();
    if (features.length === 0) return;
    this.#gaps.set(job.frameCount - 1, gaps);
    await send(job.frameCount - 1, features);
  }

  /** @param rule `mustSucceed`: otherwise a store that may answer later is tried again with the next ones */
  #note(sending: BoundedSending, { mustSucceed }: { mustSucceed: boolean }): void {
    const { jobId, store, onProgress } = this.#parts;
    const sequences = sending.takeAcknowledged();
    if (sequences.length === 0) return;
    try {
      store.noteAcknowledged(jobId, sequences, (sequence) => this.#gaps.get(sequence)!);
    } catch (error) {
      if (mustSucceed || !isPipelineError(error) || !error.retriable) throw error;
      sending.giveBack(sequences);
      return;
    }
    for (const sequence of sequences) this.#gaps.delete(sequence);
    onProgress?.(store.job(jobId));
  }

  #otherCount(): PipelineError {
    const { jobId, records } = this.#frame.job;
    return new PipelineError("JOB_CHANGED", `job ${jobId} began with another number of records`, { jobId, records });
  }
}
