import type { Row } from "@smile/features/spec";

/** One life of one machine: from new (or overhauled) to failure, or to where its record ends. */
export type TrainingRun = {
  readonly machine: string;
  /** Iterated several times: an array, or an object that makes its rows anew. */
  readonly rows: Iterable<Row>;
  /** Event time of the failure; null when the record ends before one. */
  readonly failureMs: number | null;
};

/** Told what training does and how much of it is done, from 0 to 1. */
export type OnProgress = (text: string, fraction: number) => void;
