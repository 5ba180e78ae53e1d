import { createWriteStream, type WriteStream } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "@smile/runtime/logging";

/** Lines that a reader who is slow, or has stopped, may be behind; what comes then is left out. */
const MOST_BYTES = 1 << 20;
/** How long the end waits for a slow reader. */
const LAST_LINES_MS = 1000;

/**
 * Prints lines to a file descriptor without ever waiting for whoever reads them: `process.stdout` blocks the process while a pipe is
 * full, and fails it once the pipe is closed, as after `| head`. Then the rest is left out, with one warning: what is printed is stored.
 */
export class LinePrinter implements AsyncDisposable {
  readonly #out: WriteStream;
  readonly #logger: Logger;
  #isBehind = false;

  /** @param fd such as 1, standard output; it stays open */
  constructor(fd: number, logger: Logger) {
    this.#logger = logger;
    this.#out = createWriteStream("", { fd, autoClose: false });
    this.#out.on("error", (error) => this.#warn({ err: error }));
  }

  line(text: string): void {
    if (this.#out.errored !== null) return;
    const isBehind = this.#out.writableLength > MOST_BYTES;
    if (!isBehind) this.#out.write(`${text}\n`);
    else if (!this.#isBehind) this.#warn({ behindBytes: this.#out.writableLength });
    this.#isBehind = isBehind;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#out.errored !== null || this.#out.writableLength === 0) return;
    const { promise: printed, resolve } = Promise.withResolvers<void>();
    this.#out.end(() => resolve());
    this.#out.once("error", () => resolve());
    await Promise.race([printed, delay(LAST_LINES_MS, undefined, { ref: false })]);
  }

  #warn(facts: object): void {
    this.#logger.warn(facts, "nobody reads the printed lines fast enough, or at all: some are left out");
  }
}
