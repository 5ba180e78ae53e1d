import type { Logger } from "@smile/runtime/logging";

/** Whoever sends what is refused sends more of it: one line of a kind in this time says so. */
const EVERY_MS = 1000;

/** Warnings of what comes from outside, of which as many may come as somebody cares to cause: they must not fill the disk of whoever keeps the log. */
export class RareWarnings {
  readonly #logger: Logger;
  readonly #kinds = new Map<string, { total: number; loggedMs: number }>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** @param kind one of few, such as an error code; each has its turn of its own, and the line says how many there were */
  warn(kind: string, facts: Readonly<Record<string, unknown>>, text: string): void {
    const nowMs = performance.now();
    const known = this.#kinds.get(kind) ?? { total: 0, loggedMs: Number.NEGATIVE_INFINITY };
    this.#kinds.set(kind, known);
    known.total += 1;
    if (nowMs - known.loggedMs < EVERY_MS) return;
    known.loggedMs = nowMs;
    this.#logger.warn({ ...facts, total: known.total }, text);
  }
}
