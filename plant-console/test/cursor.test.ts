import type { Cursor } from "@smile/schemas/cursor";
import fc from "fast-check";
import { expect, it } from "vitest";
import { behind, standingOf } from "../src/cursor.ts";

const here = { topicId: "scores-1", partition: 0 };
const none: Cursor = { topicId: null, partition: null, next: null };
const at = (next: number): Cursor => ({ ...here, next });
const delivery = (from: number, offset: number) => ({ ...here, from, offset });

it("takes what continues it, over offsets of other plants, and moves behind it", () => {
  expect(standingOf(delivery(0, 4), none)).toBe("next");
  expect(behind(delivery(0, 4))).toEqual(at(5));
  expect(standingOf(delivery(5, 9), at(5))).toBe("next");
});

it("calls stored what lies behind it, wherever that delivery began", () => {
  expect(standingOf(delivery(0, 4), at(5))).toBe("stored");
  expect(standingOf(delivery(0, 5), at(5))).toBe("next");
});

it("takes nothing that something is missing before", () => {
  expect(standingOf(delivery(3, 4), none)).toBe("ahead");
  expect(standingOf(delivery(6, 6), at(5))).toBe("ahead");
});

it("begins anew in another topic or partition, however far it was in the one before", () => {
  for (const elsewhere of [{ topicId: "scores-2" }, { partition: 1 }]) {
    expect(standingOf({ ...delivery(0, 2), ...elsewhere }, at(5))).toBe("next");
    expect(standingOf({ ...delivery(4, 4), ...elsewhere }, at(5))).toBe("ahead");
  }
});

it("never moves over a score that it has not seen, whatever is lost, repeated or out of order, and whenever the sender goes back", () => {
  const own = fc.uniqueArray(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 30 }).map((list) => list.sort((a, b) => a - b));
  /** Per delivery: whether it arrives, and how many places the sender then goes back, without being asked. */
  const luck = fc.array(fc.record({ arrives: fc.boolean(), back: fc.integer({ min: 0, max: 3 }), late: fc.boolean() }), { maxLength: 200 });
  fc.assert(
    fc.property(own, luck, (offsets, schedule) => {
      const after = (index: number) => (index === 0 ? 0 : offsets[index - 1]! + 1);
      const seen = new Set<number>();
      let cursor = none;
      const arrive = (index: number) => {
        const claim = delivery(after(index), offsets[index]!);
        if (standingOf(claim, cursor) !== "next") return;
        seen.add(claim.offset);
        cursor = behind(claim);
        expect(offsets.filter((offset) => offset < cursor.next!).every((offset) => seen.has(offset))).toBe(true);
      };
      const held: number[] = [];
      let index = 0;
      for (const { arrives, back, late } of schedule) {
        if (late) held.push(index);
        else if (arrives) arrive(index);
        index = Math.max(0, Math.min(offsets.length - 1, index + 1 - back));
        if (held.length > 2) arrive(held.shift()!);
      }
      // The sender goes back to the cursor once more, and nothing is lost from then on.
      offsets.forEach((_, i) => {
        arrive(i);
      });
      expect(cursor).toEqual(at(offsets.at(-1)! + 1));
    }),
    { seed: 34, numRuns: 500 },
  );
});
