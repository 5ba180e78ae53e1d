import type { Writable } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "@smile/runtime/logging";

/** How far a reader may be behind; what comes then is left out. */
const MOST_BYTES = 1 << 20;
/** How long the end waits for a slow reader. */
const LAST_LINES_MS = 1000;

/**
 * Prints lines for whoever reads them, and never fails or grows because of them: a reader may stop (`| head`) or stall (`| less`). Lines
 * that it misses are left out, with one warning: what is printed was stored before. Where output is a terminal or a file, writing waits.
 */
export class LinePrinter implements AsyncDisposable {
  readonly #out: Writable;
  readonly #logger: Logger;
  #isClosed = false;
  #isBehind = false;

  /** @param out such as standard output; it is not ended */
  constructor(out: Writable, logger: Logger) {
    this.#out = out;
    this.#logger = logger;
    // For good: a write that is under way may fail after the printer was disposed of.
    out.on("error", (error) => {
      if (!this.#isClosed) this.#logger.warn({ err: error }, "nobody reads the printed lines any more: they are left out");
      this.#isClosed = true;
    });
  }

  line(text: string): void {
    if (this.#isClosed) return;
    const isBehind = this.#out.writableLength > MOST_BYTES;
    if (!isBehind) this.#out.write(`${text}\n`);
    else if (!this.#isBehind)
      this.#logger.warn({ behindBytes: this.#out.writableLength }, "printed lines are read too slowly: some are left out");
    this.#isBehind = isBehind;
  }

  /** Resolves when everything is printed, or after a second. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed || this.#out.writableLength === 0) return;
    const { promise: printed, resolve } = Promise.withResolvers<void>();
    this.#out.write("", () => resolve());
    await Promise.race([printed, delay(LAST_LINES_MS, undefined, { ref: false })]);
  }
}
