type Waiter = { readonly since: string; readonly wake: () => void };

/**
 * Wakes readers that wait for new records: at once for a commit of this process, and within `everyMs` for one of another process
 * that has the same file open. Looks for the latter only while somebody waits.
 */
export class ChangeSignal {
  readonly #othersVersion: () => number;
  readonly #everyMs: number;
  readonly #waiters = new Set<Waiter>();
  #own = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param othersVersion a number that changes with every commit of another connection, such as SQLite's `data_version` */
  constructor(othersVersion: () => number, everyMs: number) {
    this.#othersVersion = othersVersion;
    this.#everyMs = everyMs;
  }

  /** The state of the world. Take it before looking for records, and hand it to `wait` when there are none: no change slips between. */
  now(): string {
    return `${this.#own}/${this.#othersVersion()}`;
  }

  /** Announces a commit of this process. */
  announce(): void {
    this.#own++;
    for (const waiter of this.#waiters) waiter.wake();
  }

  /** Resolves once the world is no longer as in `since`, after `forMs`, or when the signal is aborted: the caller looks again. */
  wait(since: string, forMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal.aborted || this.now() !== since) return resolve();
      const waiter = {
        since,
        wake: () => {
          clearTimeout(timeout);
          signal.removeEventListener("abort", waiter.wake);
          this.#waiters.delete(waiter);
          if (this.#waiters.size === 0) this.#stopLooking();
          resolve();
        },
      };
      const timeout = setTimeout(waiter.wake, forMs);
      signal.addEventListener("abort", waiter.wake);
      this.#waiters.add(waiter);
      this.#timer ??= setInterval(() => this.#look(), this.#everyMs).unref();
    });
  }

  #look(): void {
    let now: string | undefined;
    try {
      now = this.now();
    } catch {
      // Wakes everybody below: their own next read meets the same error where somebody can answer for it.
    }
    for (const waiter of this.#waiters) if (waiter.since !== now) waiter.wake();
  }

  #stopLooking(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
