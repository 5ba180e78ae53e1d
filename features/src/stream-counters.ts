/** Why a row was refused. */
export type RefusalReason = "time-not-finite" | "value-missing" | "value-not-finite";

/** What a stream did with its rows and windows since it was made; never reset, not part of a snapshot. */
export type StreamCounters = {
  /** Rows taken into a machine's state. */
  accepted: number;
  /** Rows at or before the machine's watermark: their windows are out. */
  late: number;
  /** Rows whose machine and time had come already. */
  duplicate: number;
  /** Rows without a usable time, sensor or setting, by reason. */
  refused: Record<RefusalReason, number>;
  /** Rows that left the order or the window early because a machine sent more than the memory bound allows. */
  overflowed: number;
  /** Windows with rows in them that the lift had too few rows for (warm-up, minimumRows). */
  tooFewRows: number;
  /** Windows emitted. */
  windows: number;
  /** Features of emitted windows that were clipped to a bound. */
  clipped: number;
};

/** Counters of a stream that has seen nothing. */
export function zeroCounters(): StreamCounters {
  return {
    accepted: 0,
    late: 0,
    duplicate: 0,
    refused: { "time-not-finite": 0, "value-missing": 0, "value-not-finite": 0 },
    overflowed: 0,
    tooFewRows: 0,
    windows: 0,
    clipped: 0,
  };
}
