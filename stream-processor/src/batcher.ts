import { disjoint } from "@smile/he/lanes";
import type { Frame } from "@smile/schemas/envelopes";

/** A frame and where it stands in the log, so that it can be settled once its batch is durable. */
export type Placed<P> = { readonly position: P; readonly frame: Frame };

/** How a kind of frames may be merged: L lanes, and at most `maxMerges` frames in one ciphertext (1 in symmetric mode). */
export type MergeRule = { readonly lanes: number; readonly maxMerges: number };

/** Frames of one kind with disjoint lanes, in arrival order. `sinceMs` is when the first one came. */
export type OpenBatch<P> = { readonly sinceMs: number; readonly lanes: Uint8Array; readonly frames: readonly Placed<P>[] };

/** Batches still filling, oldest first, by kind of ciphertext. */
export type Open<P> = ReadonlyMap<string, readonly OpenBatch<P>[]>;

/** A tick is an input without a frame. `atMs` is on a monotonic clock. */
export type Input<P> = { readonly atMs: number; readonly arrival?: Placed<P> & { readonly rule: MergeRule } };

/** `lingerMs`: how long a frame may wait for company. `openPerKind`: batches of one kind that may be filling at once. */
export type BatcherLimits = { readonly lingerMs: number; readonly openPerKind: number };

export type Step<P> = { readonly open: Open<P>; readonly ready: readonly (readonly Placed<P>[])[] };

/**
 * Puts a frame into the first open batch of its kind behind the last one that uses any of its lanes, and releases the batches that are full, merged
 * as often as the parameters allow, or late. Two keys, feature sets or parameter sets never share a batch: such ciphertexts
 * cannot be added. A batch is never released before an older one of its kind: the windows of a lane keep their order.
 * Pure: no clock, no log, no ciphertext arithmetic.
 * @param open batches still filling; not changed
 * @returns the new open batches, and the released ones in order, each of at least one frame
 */
export function advance<P>(open: Open<P>, { atMs, arrival }: Input<P>, { lingerMs, openPerKind }: BatcherLimits): Step<P> {
  const next = new Map(open);
  const ready: (readonly Placed<P>[])[] = [];
  if (arrival !== undefined) {
    const { frame, position, rule } = arrival;
    const kind = kindOf(frame);
    const { batches, index } = place(next.get(kind) ?? [], { frame, position }, atMs, rule);
    const complete = batches[index]!.frames.length >= rule.maxMerges || isFull(batches[index]!.lanes, rule.lanes);
    const released = Math.max(complete ? index + 1 : 0, batches.length - openPerKind);
    ready.push(...batches.slice(0, released).map((batch) => batch.frames));
    next.set(kind, batches.slice(released));
  }
  for (const [kind, batches] of next) {
    const late = batches.findLastIndex((batch) => atMs - batch.sinceMs >= lingerMs) + 1;
    ready.push(...batches.slice(0, late).map((batch) => batch.frames));
    if (late === batches.length) next.delete(kind);
    else if (late > 0) next.set(kind, batches.slice(late));
  }
  return { open: next, ready };
}

/** When the oldest open batch becomes late, on the clock of `atMs`; undefined when nothing is open. */
export function nextDeadline<P>(open: Open<P>, { lingerMs }: BatcherLimits): number | undefined {
  let oldest: number | undefined;
  for (const [batch] of open.values()) oldest = Math.min(oldest ?? Infinity, batch!.sinceMs);
  return oldest === undefined ? undefined : oldest + lingerMs;
}

/** What two frames must have in common to be added. */
function kindOf({ plant, scheme, keyMode, paramsId, keyId, featureSetId, jobId }: Frame): string {
  return [plant, scheme, keyMode, paramsId, keyId, featureSetId, jobId ?? ""].join(" ");
}

function place<P>(batches: readonly OpenBatch<P>[], placed: Placed<P>, atMs: number, { maxMerges }: MergeRule) {
  const lanes = placed.frame.lanes;
  // Behind the last batch that shares a lane with it, so that two windows of one lane never swap places.
  const after = batches.findLastIndex((batch) => !disjoint(batch.lanes, lanes));
  const found = batches.findIndex((batch, i) => i > after && batch.frames.length < maxMerges);
  if (found < 0) return { batches: [...batches, { sinceMs: atMs, lanes, frames: [placed] }], index: batches.length };
  const { sinceMs, lanes: taken, frames } = batches[found]!;
  const merged: OpenBatch<P> = { sinceMs, lanes: union(taken, lanes), frames: [...frames, placed] };
  return { batches: batches.with(found, merged), index: found };
}

/** Lanes of either set. */
export function union(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, i) => byte | b[i]!);
}

function isFull(lanes: Uint8Array, total: number): boolean {
  return lanes.every((byte, i) => byte === (total - 8 * i >= 8 ? 0xff : (1 << (total - 8 * i)) - 1));
}
