import type { Row } from "@smile/features/spec";

/** Rows in the order in which the source has them. */
export type RowBatch = {
  readonly rows: readonly Row[];
  /** Stands behind the last row: what `ack` takes once all rows up to here are covered by a commit. Positions only grow. */
  readonly position: number;
  /** What the source itself refused since the batch before, already logged there; counted by the agent. */
  readonly malformed: number;
};

/**
 * Where rows come from. Pulled: while the agent does not ask, a source waits and, where it can, makes its own sender wait.
 * After a crash it may send again from its last acknowledged position, or from anywhere before: what was covered is recognised.
 */
export interface RowSource {
  /** Ends at the end of the rows, or soon after `stop`. Batches are bounded; one without rows reports only refusals. */
  batches(stop: AbortSignal): AsyncIterable<RowBatch>;
  /** Rows up to a position that a batch carried are safe with the agent: they need not be sent again. */
  ack(position: number): void;
}
