/** One observation. Fields are numbers only; a field without a finite value makes the whole point invalid. */
export type Point = {
  readonly measurement: string;
  /** What series are told apart by. Keep the number of different values small; an empty one is left out. */
  readonly tags: Readonly<Record<string, string>>;
  readonly fields: Readonly<Record<string, number>>;
  /** Milliseconds since 1970. A point with the measurement, tags and time of an earlier one replaces it. */
  readonly timeMs: number;
};

/**
 * Somewhere to write observations for later diagrams. It never throws, never waits and never holds anything up: what it cannot keep
 * within its bounds is lost and counted. Nothing that has to arrive is sent this way.
 */
export interface TimeSeries extends AsyncDisposable {
  write(point: Point): void;
}
