import { availableParallelism } from "node:os";
import { PipelineError } from "@smile/errors/pipeline-error";
import { Piscina } from "piscina";
import type { ScoringHead } from "./scoring.ts";
import type { Answer, SanitisingKey, ScoreTask, WorkerSetup } from "./worker-protocol.ts";

export type ScoringJob = {
  readonly head: ScoringHead;
  readonly key: SanitisingKey;
  readonly ciphertext: Uint8Array;
  /** Occupied lanes, ascending. */
  readonly lanes: readonly number[];
};

export type ScoringPoolOptions = {
  /** Worker threads, each with a WASM instance of its own; one per core by default. */
  readonly threads?: number;
  /** Jobs under way and waiting at most; `score` waits for a place beyond it. Default: two tasks full per thread. */
  readonly maxJobs?: number;
  /** JavaScript heap of one worker in MiB, WASM not counted; a worker that wants more dies, and is replaced. */
  readonly heapMbPerWorker?: number;
  /** For work that nobody waits for: the workers take what other threads leave of the processor. On Linux only. Default false. */
  readonly background?: boolean;
};

/** Jobs that one message to a worker holds at most: some 2 ms of work, in which the message's own cost is a fiftieth. */
const JOBS_PER_TASK = 8;
/**
 * Beside a thread of normal priority that wants a whole core too, a worker gets a tenth of it (weights 110 and 1024 of Linux'
 * `sched_prio_to_weight`): little enough not to be in the way, and a busy machine does not stop its work.
 */
const BACKGROUND_NICENESS = 10;
/** A job whose worker died is tried this often in all: one that kills every worker must not go on for ever. */
const ATTEMPTS = 3;

/** A job that no worker has yet, and who waits for it. */
type Queued = {
  readonly job: ScoringJob;
  readonly resolve: (replies: readonly Uint8Array[]) => void;
  readonly reject: (error: unknown) => void;
};

/**
 * Scores batches on worker threads, each of which gets what waits of one head and key when it has nothing to do. Bounded:
 * at most `maxJobs` jobs hold memory, further callers wait. A worker that dies is replaced and its jobs done again, each on its own; a
 * job that kills three workers is refused with WORKER_DIED.
 */
export class ScoringPool implements AsyncDisposable {
  readonly #workers: Piscina<ScoreTask, readonly Answer[]>;
  readonly #threads: number;
  readonly #maxJobs: number;
  readonly #waiting: (() => void)[] = [];
  #queued: Queued[] = [];
  /** Threads that have a task. */
  #busy = 0;
  #dealing = false;
  #jobs = 0;
  #closed = false;

  constructor(options: ScoringPoolOptions = {}) {
    const { threads = availableParallelism(), maxJobs = 2 * JOBS_PER_TASK * threads, heapMbPerWorker = 96, background = false } = options;
    this.#threads = threads;
    this.#maxJobs = maxJobs;
    this.#workers = new Piscina({
      filename: new URL("./worker.ts", import.meta.url).href,
      minThreads: threads,
      maxThreads: threads,
      workerData: { niceness: background ? BACKGROUND_NICENESS : 0 } satisfies WorkerSetup,
      resourceLimits: { maxOldGenerationSizeMb: heapMbPerWorker, maxYoungGenerationSizeMb: 32 },
    });
    // A worker that dies between tasks is replaced, and that is all there is to it; unheard, this event would end the process.
    this.#workers.on("error", () => {});
  }

  /** Jobs under way. */
  get jobs(): number {
    return this.#jobs;
  }

  /** Callers that wait for a place. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** The workers, for tests that kill them. */
  get threads(): Piscina["threads"] {
    return this.#workers.threads;
  }

  /**
   * @returns [outputs] replies; see wire.ts
   * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE or CIPHERTEXT_TRANSPARENT for what is no ciphertext of the
   *   head's parameters, LANES_INVALID, KEY_MISMATCH for a key of other parameters, SCORING_FAILED when a worker met what it
   *   cannot explain, WORKER_DIED when the job killed its workers, STOPPED when the pool is closed
   */
  async score(job: ScoringJob): Promise<readonly Uint8Array[]> {
    await this.#enter();
    try {
      return await new Promise<readonly Uint8Array[]>((resolve, reject) => {
        this.#queued.push({ job, resolve, reject });
        this.#dealSoon();
      });
    } finally {
      this.#leave();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    for (const wake of this.#waiting.splice(0)) wake();
    await this.#workers.destroy();
  }

  async #enter(): Promise<void> {
    while (!this.#closed && this.#jobs >= this.#maxJobs) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.#closed) throw new PipelineError("STOPPED", "the scoring pool is closed");
    this.#jobs += 1;
  }

  #leave(): void {
    this.#jobs -= 1;
    this.#waiting.shift()?.();
  }

  /** At the end of this turn, when everybody who asks in it has asked. */
  #dealSoon(): void {
    if (this.#dealing) return;
    this.#dealing = true;
    setImmediate(() => {
      this.#dealing = false;
      this.#deal();
    });
  }

  /** Gives every idle thread a task: full ones where there is enough to do, else what there is shared out evenly. */
  #deal(): void {
    while (this.#busy < this.#threads && this.#queued.length > 0) {
      const { head, key } = this.#queued[0]!.job;
      const isAlike = ({ job }: Queued) => job.head === head && job.key.keyId === key.keyId;
      const size = Math.min(JOBS_PER_TASK, Math.ceil(this.#queued.length / (this.#threads - this.#busy)));
      const task = this.#queued.filter(isAlike).slice(0, size);
      const taken = new Set(task);
      this.#queued = this.#queued.filter((queued) => !taken.has(queued));
      this.#busy += 1;
      void this.#settle(task).finally(() => {
        this.#busy -= 1;
        this.#dealSoon();
      });
    }
  }

  /** Has jobs of one head and key done, and tells who waits for them. Never rejects. */
  async #settle(queued: readonly Queued[], attempt = 1): Promise<void> {
    try {
      // A pool that was destroyed would start a worker for it.
      if (this.#closed) throw new Error("closed");
      const task = taskOf(queued.map(({ job }) => job));
      const answers = await this.#workers.run(task, { transferList: [task.ciphertexts.buffer] });
      queued.forEach(({ resolve, reject }, i) => {
        const answer = answers[i]!;
        if ("replies" in answer) resolve(answer.replies);
        else reject(new PipelineError(answer.refused.code, answer.refused.what, answer.refused.facts));
      });
    } catch (death) {
      for (const one of queued) {
        if (this.#closed) one.reject(new PipelineError("STOPPED", "the scoring pool is closed", {}, death));
        else if (attempt === ATTEMPTS)
          one.reject(new PipelineError("WORKER_DIED", `a task ended ${ATTEMPTS} scoring workers`, { attempts: ATTEMPTS }, death));
        // One of them may have killed the worker: from here on it takes none of the others along.
        else await this.#settle([one], attempt + 1);
      }
    }
  }
}

/** Ciphertexts are copied once, side by side: sent as they are, a view into a larger buffer would take all of it along. */
function taskOf(jobs: readonly ScoringJob[]): ScoreTask & { readonly ciphertexts: Uint8Array<ArrayBuffer> } {
  const ciphertexts = new Uint8Array(jobs.reduce((sum, { ciphertext }) => sum + ciphertext.length, 0));
  let at = 0;
  for (const { ciphertext } of jobs) {
    ciphertexts.set(ciphertext, at);
    at += ciphertext.length;
  }
  const { head, key } = jobs[0]!;
  return { head, key, ciphertexts, batches: jobs.map(({ ciphertext, lanes }) => ({ length: ciphertext.length, lanes })) };
}
