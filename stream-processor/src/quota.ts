import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import { RateLimiterMemory, RateLimiterQueue } from "rate-limiter-flexible";

/** What each plant may send. */
export type Quota = { readonly framesPerSecond: number; readonly bytesPerSecond: number };

/**
 * Six times the frames of a plant of 10,000 machines with a window a second each at 64 lanes a frame; about half of what one stream
 * processor takes on one core (0.5 ms a frame), so that one plant that sends all it may leaves room for others.
 */
export const defaultQuota: Quota = { framesPerSecond: 1000, bytesPerSecond: 128 * 1024 * 1024 };

/** A plant's messages that may wait: 64 MiB of the largest. */
const MOST_WAITING = 1000;
/** The clock of day is set back further than it may be read unevenly. */
const SET_BACK_MS = 1000;
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
  #frames: RateLimiterQueue;
  #bytes: RateLimiterQueue;
  readonly #quota: Quota;
  readonly #waiting = new Set<(error: PipelineError) => void>();
  #disposed = false;
  /** The clock of day, which the library reads, less the monotonic one. */
  #clockMs = Date.now() - performance.now();

  constructor(quota: Quota) {
    this.#quota = quota;
    this.#frames = queue("frames", quota.framesPerSecond);
    this.#bytes = queue("bytes", quota.bytesPerSecond);
  }

  /**
   * Resolves when it is the message's turn.
   * @param plant a registered one, or one name for all others: each takes memory for good
   * @param bytes more than a second's share count as a second's share
   * @throws {PipelineError} QUOTA_EXCEEDED when too many wait, it would take too long, or the clock was set back meanwhile; STOPPED when disposed
   */
  async turn(plant: string, bytes: number): Promise<void> {
    if (this.#disposed) throw stopped();
    this.#followClock();
    let sinceMs: number | undefined;
    // Whose turn it is at once has it before anything else runs: only a wait counts, not a busy process.
    const waiting = setImmediate(() => {
      sinceMs = performance.now();
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.add(reject);
    this.#tokens(plant, bytes).then(resolve, (cause: unknown) => {
      reject(new PipelineError("QUOTA_EXCEEDED", `plant ${plant} sends more than its quota, and too much of it waits`, { plant }, cause));
    });
    try {
      await promise;
    } catch (error) {
      if (isPipelineError(error, "QUOTA_EXCEEDED")) this.exceeded[plant] = (this.exceeded[plant] ?? 0) + 1;
      throw error;
    } finally {
      clearImmediate(waiting);
      this.#waiting.delete(reject);
    }
    if (sinceMs !== undefined) this.waitedSeconds[plant] = (this.waitedSeconds[plant] ?? 0) + (performance.now() - sinceMs) / 1000;
  }

  /** Whoever waits need not wait for the end of its wait. */
  [Symbol.dispose](): void {
    this.#disposed = true;
    for (const reject of this.#waiting) reject(stopped());
  }

  /** Where the clock was set back, those who wait would wait until it is as late again: they are given back, and all begin anew. */
  #followClock(): void {
    const before = this.#clockMs;
    this.#clockMs = Date.now() - performance.now();
    if (this.#clockMs > before - SET_BACK_MS) return;
    this.#frames = queue("frames", this.#quota.framesPerSecond);
    this.#bytes = queue("bytes", this.#quota.bytesPerSecond);
    for (const reject of this.#waiting) reject(new PipelineError("QUOTA_EXCEEDED", "the clock was set back while a message waited"));
  }

  async #tokens(plant: string, bytes: number): Promise<void> {
    const until = Math.ceil(Date.now() / 1000) + LONGEST_WAIT_SECONDS;
    // The library finds its queues in a plain object, which has names of its own.
    const key = `plant ${plant}`;
    await this.#frames.removeTokens(1, key, until);
    await this.#bytes.removeTokens(Math.min(bytes, this.#quota.bytesPerSecond), key, until);
  }
}

function queue(keyPrefix: string, points: number): RateLimiterQueue {
  return new RateLimiterQueue(new RateLimiterMemory({ keyPrefix, points, duration: 1 }), { maxQueueSize: MOST_WAITING });
}
