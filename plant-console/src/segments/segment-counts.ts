import type { DeliveryCounts } from "../delivery-loop.ts";
import type { Assigned } from "./job-store.ts";

/** Counts since the start of this process. */
export type SegmentCounters = {
  readonly deliveries: number;
  readonly repeatedDeliveries: number;
  readonly earlyDeliveries: number;
  readonly malformed: number;
  /** Deliveries refused for good, by code of the catalogue. */
  readonly refused: Readonly<Record<string, number>>;
  /** Records whose segment was stored; answered again as they were; answered again otherwise; of gateways that were revoked; of jobs that were deleted. */
  readonly records: number;
  readonly duplicates: number;
  readonly contradictions: number;
  readonly revokedRecords: number;
  readonly deletedScores: number;
  /** Milliseconds since 1970; undefined before the first. */
  readonly lastStoredMs: number | undefined;
};

/** What a console of jobs counts. */
export class SegmentCounts implements DeliveryCounts {
  readonly #refused: Record<string, number> = {};
  readonly #counts = {
    deliveries: 0,
    repeatedDeliveries: 0,
    earlyDeliveries: 0,
    malformed: 0,
    records: 0,
    duplicates: 0,
    contradictions: 0,
    revokedRecords: 0,
    deletedScores: 0,
  };
  #lastStoredMs: number | undefined;

  read(): SegmentCounters {
    return { ...this.#counts, refused: { ...this.#refused }, lastStoredMs: this.#lastStoredMs };
  }

  add(what: Parameters<DeliveryCounts["add"]>[0], by = 1): void {
    this.#counts[what] += by;
  }

  addRefused(code: string): void {
    this.#refused[code] = (this.#refused[code] ?? 0) + 1;
  }

  /** What one score did. */
  addAssigned({ stored, duplicated, contradictions, deleted }: Assigned, revokedRecords: number, nowMs: number): void {
    this.#counts.records += stored;
    this.#counts.duplicates += duplicated;
    this.#counts.contradictions += contradictions;
    this.#counts.revokedRecords += revokedRecords;
    if (deleted) this.#counts.deletedScores++;
    if (stored > 0) this.#lastStoredMs = nowMs;
  }
}
