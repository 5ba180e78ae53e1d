import { LatencyFigure } from "./latency.ts";
import type { Stored } from "./store.ts";

/** Counts since the start of this process. */
export type ConsoleCounters = {
  /** Delivery envelopes received. */
  readonly deliveries: number;
  /** Deliveries behind the cursor, which were stored before. */
  readonly repeatedDeliveries: number;
  /** Deliveries passed over because one before them is missing; they come again. */
  readonly earlyDeliveries: number;
  /** Payloads that are no delivery. The cursor stays before them: what was sent there may be one that a newer console can read. */
  readonly malformed: number;
  /** Deliveries refused for good, by code of the catalogue. */
  readonly refused: Readonly<Record<string, number>>;
  /** Lanes that are leased to nobody, or not to the gateway that filled them; their scores are dropped. */
  readonly unknownLanes: number;
  /** Windows of gateways whose keys were revoked; their scores are dropped. */
  readonly revokedWindows: number;
  readonly risks: number;
  readonly duplicates: number;
  /** Windows that were answered again with another score. A model service that confuses windows shows itself here. */
  readonly contradictions: number;
  readonly late: number;
  readonly raised: number;
  readonly cleared: number;
  /** New gaps, and what was missing of them when they were stored. Some may still arrive: the store knows. */
  readonly gaps: number;
  readonly lostFrames: number;
  readonly lostWindows: number;
};

/** What a console counts. */
export class Counts {
  /** From closed at the gateway to stored here. */
  readonly latency = new LatencyFigure();
  readonly #refused: Record<string, number> = {};
  readonly #counts = {
    deliveries: 0,
    repeatedDeliveries: 0,
    earlyDeliveries: 0,
    malformed: 0,
    unknownLanes: 0,
    revokedWindows: 0,
    risks: 0,
    duplicates: 0,
    contradictions: 0,
    late: 0,
    raised: 0,
    cleared: 0,
    gaps: 0,
    lostFrames: 0,
    lostWindows: 0,
  };

  read(): ConsoleCounters {
    return { ...this.#counts, refused: { ...this.#refused } };
  }

  add(what: keyof Omit<ConsoleCounters, "refused">, by = 1): void {
    this.#counts[what] += by;
  }

  addRefused(code: string): void {
    this.#refused[code] = (this.#refused[code] ?? 0) + 1;
  }

  /** What one transaction did. */
  addStored({ risks, duplicates, contradictions, late, alerts, gaps }: Stored, storedAtMs: number): void {
    this.add("risks", risks.length);
    this.add("duplicates", duplicates);
    this.add("contradictions", contradictions.length);
    this.add("late", late);
    for (const { kind } of alerts) this.add(kind);
    for (const { missingFrames, missingWindows } of gaps) {
      this.add("gaps");
      this.add("lostFrames", missingFrames);
      this.add("lostWindows", missingWindows);
    }
    for (const risk of risks) this.latency.record(storedAtMs - risk.closedAtMs);
  }
}
