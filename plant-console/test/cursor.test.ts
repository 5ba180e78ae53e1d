import fc from "fast-check";
import { expect, it } from "vitest";
import { advanceCursor, type Cursor, isStored, type Progress, reconnected } from "../src/cursor.ts";

const partition = 0;
const receive = (progress: Progress, offsets: readonly number[]) =>
  offsets.reduce((before, offset) => advanceCursor(before, { partition, offset }), progress);

it("starts at the beginning and moves behind each delivery, over holes", () => {
  const progress = receive(reconnected({ partition: null, next: null }), [0, 1, 4]);
  expect(progress.cursor).toEqual({ partition: 0, next: 5 });
});

it("does not believe what was sent before the sender heard the cursor, until the sender goes back", () => {
  const stale = receive(reconnected({ partition, next: 10 }), [20, 21]);
  expect(stale).toMatchObject({ cursor: { next: 10 }, synced: false });
  expect(receive(stale, [12]).cursor.next).toBe(13);
  expect(receive(stale, [9, 12]).cursor.next).toBe(13);
});

it("starts from the beginning of another partition", () => {
  const moved = advanceCursor(reconnected({ partition, next: 10 }), { partition: 1, offset: 7 });
  expect(moved).toMatchObject({ cursor: { partition: 1, next: null }, synced: false });
});

it("calls stored what lies behind the cursor, and nothing before the first delivery", () => {
  expect(isStored(reconnected({ partition, next: 10 }), { partition, offset: 9 })).toBe(true);
  expect(isStored(reconnected({ partition, next: 10 }), { partition, offset: 10 })).toBe(false);
  expect(isStored(reconnected({ partition, next: 10 }), { partition: 1, offset: 9 })).toBe(false);
  expect(isStored(reconnected({ partition: null, next: null }), { partition, offset: 0 })).toBe(false);
});

/**
 * A sender that goes on sending into a connection that is gone, hears cursors late, and a receiver that loses what was not stored.
 * Each step of the schedule: how many are sent, whether the connection breaks, after how many sendings the cursor is heard.
 */
it("never moves over a score that it has not seen, whatever breaks and however late the sender hears", () => {
  const schedule = fc.array(
    fc.record({ send: fc.integer({ min: 0, max: 6 }), lost: fc.integer({ min: 0, max: 4 }), staleFirst: fc.integer({ min: 0, max: 4 }) }),
    { minLength: 1, maxLength: 12 },
  );
  const offsets = fc
    .uniqueArray(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 30 })
    .map((list) => list.sort((a, b) => a - b));
  fc.assert(
    fc.property(offsets, schedule, (log, steps) => {
      let at = 0; // index into the log of what the sender sends next
      let cursor: Cursor = { partition: null, next: null };
      const seen = new Set<number>();
      for (const { send, lost, staleFirst } of steps) {
        at = Math.min(log.length, at + lost); // sent into nothing while the connection was gone
        let progress = reconnected(cursor);
        const arrive = (count: number) => {
          for (let i = 0; i < count && at < log.length; i++) {
            const offset = log[at++]!;
            seen.add(offset);
            progress = advanceCursor(progress, { partition, offset });
          }
        };
        const hear = () => {
          at = log.findIndex((offset) => offset >= (progress.cursor.next ?? 0));
          if (at < 0) at = log.length;
        };
        arrive(staleFirst);
        hear();
        arrive(1);
        if (!progress.synced) hear(); // the receiver asks once more when it cannot tell
        arrive(send);
        cursor = progress.cursor;
        const behind = log.filter((offset) => offset < (cursor.next ?? 0));
        expect(behind.every((offset) => seen.has(offset))).toBe(true);
      }
      let progress = reconnected(cursor);
      for (let round = 0; round < 2; round++) {
        for (const offset of log.filter((each) => each >= (cursor.next ?? 0))) progress = advanceCursor(progress, { partition, offset });
      }
      expect(progress.cursor.next ?? 0).toBe(log.at(-1)! + 1);
    }),
    { seed: 34, numRuns: 500 },
  );
});
