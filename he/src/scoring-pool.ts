import { availableParallelism } from "node:os";
import { PipelineError } from "@smile/errors/pipeline-error";
import { LRUCache } from "lru-cache";
import { Piscina } from "piscina";
import { type Params, paramsId } from "./params.ts";
import type { Sanitiser } from "./sanitise.ts";
import { SanitiserStock } from "./sanitiser-stock.ts";
import type { ScoringHead } from "./scoring.ts";
import type { Answer, Task, WorkerSetup } from "./worker-protocol.ts";

/** A plant's public key: what its replies are sanitised with. */
export type SanitisingKey = { readonly keyId: string; readonly publicKey: Uint8Array };

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
  /** Jobs under way and waiting at most; `score` waits for a place beyond it. */
  readonly maxJobs?: number;
  /** Sanitisers kept ready per key; each takes 32 N bytes. */
  readonly sanitisersPerKey?: number;
  /** JavaScript heap of one worker in MiB, WASM not counted; a worker that wants more dies, and is replaced. */
  readonly heapMbPerWorker?: number;
  /** For work that nobody waits for: the workers take what other threads leave of the processor. On Linux only. Default false. */
  readonly background?: boolean;
};

/** Keys whose sanitisers are kept ready; beyond that the one unused for longest loses its stock. */
const STOCKED_KEYS = 64;
/**
 * Beside a thread of normal priority that wants a whole core too, a worker gets a tenth of it (weights 110 and 1024 of Linux'
 * `sched_prio_to_weight`): little enough not to be in the way, and a busy machine does not stop its work.
 */
const BACKGROUND_NICENESS = 10;
/** A task whose worker died is tried this often in all: a task that kills every worker must not go on for ever. */
const ATTEMPTS = 3;

/**
 * Scores batches on worker threads. Bounded: at most `maxJobs` jobs hold memory, further callers wait. A worker that dies is
 * replaced and its job done again; a job that kills three workers is refused with WORKER_DIED.
 */
export class ScoringPool implements AsyncDisposable {
  readonly #workers: Piscina<Task, Answer<unknown>>;
  readonly #maxJobs: number;
  readonly #sanitisersPerKey: number;
  readonly #stocks = new LRUCache<string, SanitiserStock>({ max: STOCKED_KEYS });
  readonly #waiting: (() => void)[] = [];
  #jobs = 0;
  #closed = false;

  constructor(options: ScoringPoolOptions = {}) {
    const {
      threads = availableParallelism(),
      maxJobs = 8 * threads,
      sanitisersPerKey = 32,
      heapMbPerWorker = 96,
      background = false,
    } = options;
    this.#maxJobs = maxJobs;
    this.#sanitisersPerKey = sanitisersPerKey;
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
  async score({ head, key, ciphertext, lanes }: ScoringJob): Promise<Uint8Array[]> {
    await this.#enter();
    try {
      const stock = this.#stock(head.params, key);
      const replies = await this.#run<Uint8Array[]>(async () => {
        const sanitisers = await stock.take(head.weights.length);
        return { task: { kind: "score", head, ciphertext, lanes, sanitisers }, moved: sanitisers.map((words) => words.buffer) };
      });
      // Off the hot path: whoever comes next finds them ready. What goes wrong here goes wrong again, and is told, in take().
      stock.refill().catch(() => {});
      return replies;
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

  #stock(params: Params, { keyId, publicKey }: SanitisingKey): SanitiserStock {
    const id = `${paramsId(params)} ${keyId}`;
    const kept = this.#stocks.get(id);
    if (kept !== undefined) return kept;
    const make = (count: number) =>
      this.#run<Sanitiser[]>(async () => ({ task: { kind: "sanitise", params, publicKey, count }, moved: [] }));
    const stock = new SanitiserStock(make, this.#sanitisersPerKey);
    this.#stocks.set(id, stock);
    return stock;
  }

  /** @param prepare makes the task afresh for each attempt, since what was moved to a dead worker is gone */
  async #run<T>(prepare: () => Promise<{ task: Task; moved: ArrayBuffer[] }>): Promise<T> {
    let death: unknown;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { task, moved } = await prepare();
      // A pool that was destroyed would start a worker for it.
      if (this.#closed) throw new PipelineError("STOPPED", "the scoring pool is closed");
      let answer: Answer<unknown>;
      try {
        answer = await this.#workers.run(task, { transferList: moved });
      } catch (error) {
        if (this.#closed) throw new PipelineError("STOPPED", "the scoring pool is closed", {}, error);
        death = error;
        continue;
      }
      if ("refused" in answer) throw new PipelineError(answer.refused.code, answer.refused.what, answer.refused.facts);
      return answer.value as T;
    }
    throw new PipelineError("WORKER_DIED", `a task ended ${ATTEMPTS} scoring workers`, { attempts: ATTEMPTS }, death);
  }
}
