/** How far a plant has stored its scores: the first offset that it has not; null for everything from the beginning. */
export type Cursor = { readonly partition: number | null; readonly next: number | null };

/**
 * A cursor and how far this connection can be trusted. Offsets have holes (a partition carries several plants), so a gap cannot be
 * told from a hole by counting. What can be trusted is the order in which the sender sends after it has heard the cursor:
 * - `synced: false` after connecting: what arrives may have been sent before the cursor was heard. It may be stored, but the cursor
 *   stays, until an offset arrives that is not above the one that the cursor asks for, or not above the one received before it: then the
 *   sender has gone back to the cursor, and what it sends from here on has nothing of this plant's left out.
 * - `synced: true`: everything is in order; a higher offset moves the cursor behind it, a lower one is a repetition.
 */
export type Progress = { readonly cursor: Cursor; readonly synced: boolean; readonly lastReceived: number | null };

/** The progress at the start of a connection. */
export function reconnected(cursor: Cursor): Progress {
  return { cursor, synced: false, lastReceived: null };
}

/**
 * Take note of a delivery that has been dealt with: stored, or refused for good.
 * A delivery of another partition (the topic was laid out anew) starts from the beginning there: nothing is lost, repetitions are
 * recognised by their message ids.
 */
export function advanceCursor(progress: Progress, { partition, offset }: { partition: number; offset: number }): Progress {
  if (progress.cursor.partition !== partition && progress.cursor.partition !== null) {
    return advanceCursor(reconnected({ partition, next: null }), { partition, offset });
  }
  const next = progress.cursor.next ?? 0;
  const { lastReceived } = progress;
  const synced = progress.synced || offset <= next || (lastReceived !== null && offset <= lastReceived);
  const moves = synced && offset >= next;
  return { cursor: { partition, next: moves ? offset + 1 : progress.cursor.next }, synced, lastReceived: offset };
}

/** Whether a delivery lies behind the cursor: stored before, so that it need not even be decrypted. */
export function isStored({ cursor }: Progress, { partition, offset }: { partition: number; offset: number }): boolean {
  return cursor.partition === partition && cursor.next !== null && offset < cursor.next;
}
