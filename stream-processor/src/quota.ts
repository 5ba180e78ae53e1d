import { PipelineError } from "@smile/errors/pipeline-error";
import { RateLimiterMemory, RateLimiterQueue } from "rate-limiter-flexible";

/** What each plant may send. */
export type Quota = { readonly framesPerSecond: number; readonly bytesPerSecond: number };

/** Thirty times the frames of a plant of 10,000 machines with a window a second each at 64 lanes a frame. */
export const defaultQuota: Quota = { framesPerSecond: 5000, bytesPerSecond: 128 * 1024 * 1024 };

/** A plant's messages that may wait: 64 MiB of the largest. */
const MOST_WAITING = 1000;
/** Below the time after which a broker gives a client up (`hookTimeoutMs`). */
const LONGEST_WAIT_SECONDS = 10;

const stopped = () => new PipelineError("STOPPED", "the service is stopping");

/**
 * How fast each plant may send: beyond it its messages wait, in their order and for nobody but themselves, and with them their
 * acknowledgements. Within each second a plant may use its whole share at once.
 */
export class PlantQuota implements Disposable {
  /** Seconds that messages waited, by plant. */
  readonly waitedSeconds: Record<string, number> = Object.create(null);
  /** Messages that were given back because too many waited, by plant. */
  readonly exceeded: Record<string, number> = Object.create(null);
  readonly #frames: RateLimiterQueue;
  readonly #bytes: RateLimiterQueue;
  readonly #quota: Quota;
  readonly #waiting = new Set<(error: PipelineError) => void>();
  #disposed = false;

  constructor(quota: Quota) {
    this.#quota = quota;
    const queue = (keyPrefix: string, points: number) =>
      new RateLimiterQueue(new RateLimiterMemory({ keyPrefix, points, duration: 1 }), { maxQueueSize: MOST_WAITING });
    this.#frames = queue("frames", quota.framesPerSecond);
    this.#bytes = queue("bytes", quota.bytesPerSecond);
  }

  /**
   * Resolves when it is the message's turn.
   * @param plant a registered one, or one name for all others: each takes memory for good
   * @param bytes more than a second's share count as a second's share
   * @throws {PipelineError} QUOTA_EXCEEDED when too many wait, or it would take too long; STOPPED when disposed
   */
  async turn(plant: string, bytes: number): Promise<void> {
    if (this.#disposed) throw stopped();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.add(reject);
    this.#tokens(plant, bytes).then(resolve, reject);
    try {
      await promise;
    } finally {
      this.#waiting.delete(reject);
    }
  }

  /** Whoever waits need not wait for the end of its wait. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const reject of this.#waiting) reject(stopped());
  }

  async #tokens(plant: string, bytes: number): Promise<void> {
    let sinceMs: number | undefined;
    // Whose turn it is at once has it before anything else runs: only a wait counts, not a busy process.
    const waiting = setImmediate(() => {
      sinceMs = performance.now();
    });
    const until = Math.ceil(Date.now() / 1000) + LONGEST_WAIT_SECONDS;
    // The library finds its queues in a plain object, which has names of its own.
    const key = `plant ${plant}`;
    try {
      await this.#frames.removeTokens(1, key, until);
      await this.#bytes.removeTokens(Math.min(bytes, this.#quota.bytesPerSecond), key, until);
    } catch (error) {
      this.exceeded[plant] = (this.exceeded[plant] ?? 0) + 1;
      throw new PipelineError("QUOTA_EXCEEDED", `plant ${plant} sends more than its quota, and too much of it waits`, { plant }, error);
    } finally {
      clearImmediate(waiting);
    }
    if (sinceMs !== undefined) this.waitedSeconds[plant] = (this.waitedSeconds[plant] ?? 0) + (performance.now() - sinceMs) / 1000;
  }
}
