import type { Logger } from "./logging.ts";
import type { Offence } from "./mqtt-packet-guard.ts";
import type { PeerCutOff } from "./peer-listener.ts";

/** Why a connection was ended, or not taken in the first place. */
export type CutOff =
  | Offence
  | PeerCutOff
  | "late-connect"
  | "late-packet"
  | "too-many-connections"
  | "protocol-error"
  | "silent"
  | "frozen"
  | "not-taken-over";

/** Somebody who is cut off comes back and is cut off again: one line per reason in this time says so. */
const logEveryMs = 1000;

/** Counts connections that were cut off, and logs some of them. */
export class CutOffs {
  readonly counts: Partial<Record<CutOff, number>> = {};
  readonly #logger: Logger;
  readonly #loggedMs = new Map<CutOff, number>();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  note(reason: CutOff, facts: Record<string, unknown>): void {
    const total = (this.counts[reason] ?? 0) + 1;
    this.counts[reason] = total;
    const nowMs = performance.now();
    if (nowMs - (this.#loggedMs.get(reason) ?? Number.NEGATIVE_INFINITY) < logEveryMs) return;
    this.#loggedMs.set(reason, nowMs);
    this.#logger.warn({ reason, total, ...facts }, "cut off a connection");
  }
}
