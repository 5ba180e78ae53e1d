import { setImmediate as nextTurn } from "node:timers/promises";

/** What one record waits with. `bytes`: its size on the wire, at most the queue's `maxBytes`. */
export type Appended<T> = { readonly item: T; readonly bytes: number };

export type AppendLimits = {
  /** Most bytes of one batch, counted as its items say. */
  readonly maxBytes: number;
  readonly maxItems: number;
};

type Waiting<T> = Appended<T> & { readonly resolve: (offset: number) => void; readonly reject: (error: unknown) => void };

/**
 * One partition's way into a log that takes batches: in the order of `add`, one batch under way at a time, everything that waited
 * meanwhile in the next one as far as the limits allow. A later batch that overtook an earlier, failed one would break the order of a key.
 */
export class AppendQueue<T> {
  readonly #send: (items: readonly T[]) => Promise<number>;
  readonly #limits: AppendLimits;
  readonly #turn: () => Promise<void>;
  #waiting: Waiting<T>[] = [];
  #sending = false;

  /**
   * @param send makes the items durable and resolves with the offset of the first; the rest follow without gaps
   * @param turn waited for before each batch, which takes what was appended until then. Never rejects
   */
  constructor(send: (items: readonly T[]) => Promise<number>, limits: AppendLimits, turn: () => Promise<void> = nextTurn) {
    this.#send = send;
    this.#limits = limits;
    this.#turn = turn;
  }

  /** @returns the item's offset, once it is durable */
  add(appended: Appended<T>): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ...appended, resolve, reject });
      if (!this.#sending) void this.#sendAll();
    });
  }

  async #sendAll(): Promise<void> {
    this.#sending = true;
    while (this.#waiting.length > 0) {
      await this.#turn();
      const batch = this.#waiting.splice(0, this.#fitting());
      try {
        const first = await this.#send(batch.map(({ item }) => item));
        batch.forEach(({ resolve }, i) => {
          resolve(first + i);
        });
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#sending = false;
  }

  /** How many of those that wait make the next batch: at least one. */
  #fitting(): number {
    let bytes = 0;
    let count = 0;
    for (const each of this.#waiting) {
      bytes += each.bytes;
      if (count > 0 && (bytes > this.#limits.maxBytes || count >= this.#limits.maxItems)) break;
      count++;
    }
    return count;
  }
}
