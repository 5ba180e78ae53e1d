import type { Logger } from "@smile/runtime/logging";
import type { StoredGap } from "./gap-table.ts";
import type { RiskId } from "./score-reader.ts";
import type { AlertEvent, Stored, StoredRisk } from "./store.ts";

/** Who is told of what was stored, after it is on the disk. An error thrown by one is logged and changes nothing. */
export type Listeners = {
  readonly onRisk?: (risk: StoredRisk) => void;
  readonly onAlert?: (event: AlertEvent) => void;
  /** Told of each new gap of which something is missing. */
  readonly onGap?: (gap: StoredGap) => void;
};

/** Contradictions that one log line names. */
const NAMED_CONTRADICTIONS = 10;

/**
 * Tells listeners of what was stored, in its order, in a later turn of the event loop: whatever was written to a connection before has
 * left by then, so that no listener can hold it back, nor a log that is slow to write to.
 */
export class Announcer {
  readonly #listeners: Listeners;
  readonly #logger: Logger;
  #untold: Stored[] = [];

  constructor(listeners: Listeners, logger: Logger) {
    this.#listeners = listeners;
    this.#logger = logger;
  }

  announce(stored: Stored): void {
    if (this.#untold.push(stored) === 1) setImmediate(() => this.tellAll());
  }

  /** Tells at once what waits to be told. */
  tellAll(): void {
    const batches = this.#untold;
    this.#untold = [];
    const { onAlert, onRisk, onGap } = this.#listeners;
    for (const { alerts, risks, gaps, contradictions } of batches) {
      this.#tell(alerts, onAlert); // first: an alert does not wait until all risks of its batch are told of
      this.#tell(risks, onRisk);
      this.#tell(gaps, onGap);
      this.#log(contradictions);
    }
  }

  /** By the ids of the windows, never by their scores. */
  #log(contradictions: readonly RiskId[]): void {
    if (contradictions.length === 0) return;
    const facts = { windows: contradictions.length, ids: contradictions.slice(0, NAMED_CONTRADICTIONS) };
    this.#logger.error(facts, "the model service answered windows again, with other scores; the first ones stay");
  }

  #tell<T>(events: readonly T[], listener: ((event: T) => void) | undefined): void {
    if (!listener) return;
    for (const event of events) {
      try {
        listener(event);
      } catch (error) {
        this.#logger.error({ err: error }, "a listener failed");
      }
    }
  }
}
