import type { Frame } from "@smile/schemas/envelopes";

/** @param certificate hash of what the gateway showed; null without TLS */
type Wanted = (frame: Frame, certificate: string | null) => boolean;

/** Lets whoever waits for a certain frame know that its gateway was told it is safe. */
export class FrameWatches {
  readonly #watches = new Set<{ readonly wanted: Wanted; readonly found: () => void }>();

  see(frame: Frame, certificate: string | null): void {
    for (const watch of this.#watches) {
      if (!watch.wanted(frame, certificate)) continue;
      this.#watches.delete(watch);
      watch.found();
    }
  }

  /**
   * Resolves when the first such frame is seen.
   * @param what it is, for the error
   * @throws {Error} when none comes within `patienceMs`
   */
  async next(what: string, wanted: Wanted, patienceMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const watch = { wanted, found: resolve };
    this.#watches.add(watch);
    const timer = setTimeout(() => reject(new Error(`${what} did not come within ${patienceMs / 1000} s`)), patienceMs);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#watches.delete(watch);
    }
  }
}
