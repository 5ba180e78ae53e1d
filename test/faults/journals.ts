import type { MessageId } from "@smile/schemas/envelopes";

/** A frame and the lanes that it fills. */
export type FrameEntry = MessageId & { readonly block: number; readonly lanes: readonly number[]; readonly frameTimeMs: number };

/** A risk as the console stores it. */
export type RiskEntry = MessageId & {
  readonly block: number;
  readonly lane: number;
  readonly headId: string;
  readonly output: number;
  readonly machine: string;
  readonly frameTimeMs: number;
  readonly score: number;
  readonly risk: number;
};

/** An alert as the console stores it; times are event time, null while it is open. */
export type AlertEntry = { readonly machine: string; readonly raisedAtMs: number; readonly clearedAtMs: number | null };

/** The newest window that the console has decided by, per machine. */
export type NewestEntry = { readonly machine: string; readonly frameTimeMs: number };

/** Frames that a gateway had to drop, as it told the plant: sequences from first to last, and the windows in them. */
export type GapEntry = {
  readonly gateway: string;
  readonly epoch: number;
  readonly fromSequence: number;
  readonly toSequence: number;
  readonly windows: number;
  readonly fromTimeMs: number;
  readonly toTimeMs: number;
};

/** A window of the machines' rows, and the score that it must have at the plant. */
export type ExpectedEntry = { readonly gateway: string; readonly machine: string; readonly endMs: number; readonly score: number };

/** What one schedule left behind at each place that a window passes. */
export type Journals = {
  /** Frames whose PUBACK went to the gateway: what it was told is safe. */
  readonly acknowledged: readonly FrameEntry[];
  /** Frames in the log. */
  readonly appended: readonly FrameEntry[];
  /** Frames that stand in a score of the log. */
  readonly scored: readonly FrameEntry[];
  /** Risks in the order in which the console stored them. */
  readonly risks: readonly RiskEntry[];
  readonly alerts: readonly AlertEntry[];
  readonly newest: readonly NewestEntry[];
  /** Codes on the dead-letter topic, and those that the harness provoked. */
  readonly refused: readonly string[];
  readonly provoked: readonly string[];
  /** What gateways told the plant that they had to drop. */
  readonly gaps: readonly GapEntry[];
  readonly expected: readonly ExpectedEntry[];
};

/** A window by what the plant knows it by. */
export function windowKey(machine: string, endMs: number): string {
  return `${machine} ${endMs}`;
}

/** A window by what travels. */
export function laneKey({ gateway, epoch, sequence, block }: MessageId & { readonly block: number }, lane: number): string {
  return `${gateway} ${epoch} ${sequence} ${block} ${lane}`;
}

export function frameKey({ gateway, epoch, sequence }: MessageId): string {
  return `${gateway} ${epoch} ${sequence}`;
}
