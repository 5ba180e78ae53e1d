import { setTimeout as delay } from "node:timers/promises";

/** Time between two steps of the machines: two of them make a frame per gateway. */
export const STEP_PACE_MS = 25;

/** The clock of the machines: steps that have passed. Faults last for steps, and rows are fed by steps. */
export class Steps {
  #passed = 0;
  #ended = false;
  #news = Promise.withResolvers<void>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(paceMs: number = STEP_PACE_MS) {
    this.#running = this.#run(paceMs).catch(() => {});
  }

  get passed(): number {
    return this.#passed;
  }

  /** Resolves with true once that many steps have passed, with false when the machines stop before. */
  async reached(count: number): Promise<boolean> {
    while (this.#passed < count) {
      if (this.#ended) return false;
      await this.#news.promise;
    }
    return true;
  }

  /** Resolves after so many more steps. */
  async pass(count: number): Promise<void> {
    await this.reached(this.#passed + count);
  }

  /** No step follows: whoever waits is told. */
  async end(): Promise<void> {
    this.#ended = true;
    this.#stop.abort();
    await this.#running;
    this.#news.resolve();
  }

  async #run(paceMs: number): Promise<void> {
    for (;;) {
      await delay(paceMs, undefined, { signal: this.#stop.signal });
      this.#passed += 1;
      this.#news.resolve();
      this.#news = Promise.withResolvers();
    }
  }
}
