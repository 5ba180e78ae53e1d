import type { Sanitiser } from "./sanitise.ts";

/** Makes `count` fresh sanitisers under one key. */
export type MakeSanitisers = (count: number) => Promise<readonly Sanitiser[]>;

/**
 * Sanitisers of one key, made ahead, each handed out once. They live in memory only: a crash loses them all, so none can be
 * used again after it. No more are made ahead than were asked for before: with more keys in use than stocks are kept, each stock would
 * be dropped with all that was made for it, and one plant's many keys would keep the workers from everybody's scores.
 */
export class SanitiserStock {
  readonly #make: MakeSanitisers;
  readonly #target: number;
  readonly #ready: Sanitiser[] = [];
  #taken = 0;
  /** What `refill` fills up to. */
  #goal = 0;
  #refill: Promise<void> | undefined;

  /** @param target how many are kept ready at most; 0 makes each when it is asked for */
  constructor(make: MakeSanitisers, target: number) {
    this.#make = make;
    this.#target = target;
  }

  get size(): number {
    return this.#ready.length;
  }

  /** `count` sanitisers, out of the stock as far as it goes. Rejects with whatever making the rest rejected with. */
  async take(count: number): Promise<readonly Sanitiser[]> {
    this.#goal = Math.min(this.#target, this.#taken);
    this.#taken += count;
    const taken = this.#ready.splice(0, count);
    if (taken.length < count) taken.push(...(await this.#make(count - taken.length)));
    return taken;
  }

  /** Makes ahead as many as were asked for before the last time, up to the target, behind the work that is queued. One refill at a time. */
  refill(): Promise<void> {
    // `finally` runs later even when there was nothing to make; a refill that ended at once must not stay the one under way.
    this.#refill ??= this.#fill().finally(() => {
      this.#refill = undefined;
    });
    return this.#refill;
  }

  async #fill(): Promise<void> {
    const missing = this.#goal - this.#ready.length;
    if (missing > 0) this.#ready.push(...(await this.#make(missing)));
  }
}
