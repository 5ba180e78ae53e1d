import fc from "fast-check";
import { expect, it } from "vitest";
import { HeldPartitions, slotName, slotOf } from "../src/held-partitions.ts";
import type { LogRecord } from "../src/log.ts";

const ample = { maxRecords: 1000, maxBytes: 1 << 20, waitMs: 0 };
const record = (partition: number, offset: number, bytes = 1): LogRecord => {
  return { topic: "frames", partition, offset, key: "plant", value: new Uint8Array(bytes), headers: {}, timestampMs: 0 };
};
const slot = (partition: number) => ({ topic: "frames", partition });

it("never commits beyond an unsettled record, and hands out each record once per ownership, in order", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("fetch" as const), count: fc.integer({ min: 1, max: 6 }), again: fc.boolean() }),
    fc.record({ kind: fc.constant("take" as const), maxRecords: fc.integer({ min: 1, max: 5 }) }),
    fc.record({ kind: fc.constant("settle" as const), index: fc.nat(30) }),
    fc.record({ kind: fc.constant("rebalance" as const), keep: fc.boolean() }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const held = new HeldPartitions();
      let committed = 0;
      let open: LogRecord[] = [];
      let last = -1;
      held.assign(slot(0), committed);
      for (const each of steps) {
        if (each.kind === "fetch") {
          for (const want of held.wants()) {
            const records = Array.from({ length: each.count }, (_, i) => record(0, want.offset + i));
            held.received(want, records);
            // The partition moved to another broker, and both answered.
            if (each.again) held.received(want, records);
          }
        } else if (each.kind === "take") {
          for (const taken of held.take({ ...ample, maxRecords: each.maxRecords })) {
            expect(taken.offset).toBe(last + 1);
            last = taken.offset;
            open.push(taken);
          }
        } else if (each.kind === "settle") {
          held.settle(open.splice(each.index % Math.max(1, open.length), 1));
        } else {
          if (!each.keep) {
            held.retain([]);
            open = [];
            last = committed - 1;
          }
          held.assign(slot(0), committed);
        }
        const [position] = held.uncommitted();
        if (position !== undefined) {
          held.committed([position]);
          committed = position.offset;
        }
        expect(committed).toBe(Math.min(last + 1, ...open.map(({ offset }) => offset)));
      }
    }),
    { seed: 1, numRuns: 300 },
  );
});

it("begins anew where somebody else has committed further, and ignores answers to what was asked before", () => {
  const held = new HeldPartitions();
  held.assign(slot(0), 0);
  const [want] = held.wants();
  held.received(want!, [record(0, 0), record(0, 1)]);
  held.take(ample);
  held.assign(slot(0), 7);
  held.received(want!, [record(0, 2)]);
  expect(held.take(ample)).toEqual([]);
  expect(held.wants()[0]!.offset).toBe(7);
});

it("asks for more only once what was fetched is handed out, and starts with another partition each time", () => {
  const held = new HeldPartitions();
  for (const partition of [0, 1]) held.assign(slot(partition), 0);
  for (const want of held.wants()) held.received(want, [record(want.partition, 0), record(want.partition, 1)]);
  expect(held.wants()).toEqual([]);
  const order = [0, 1, 2].map(() => held.take({ ...ample, maxRecords: 1 })[0]!.partition);
  expect(order).toEqual([0, 1, 0]);
  expect(held.lag("frames", [{ partition: 1, earliest: 0, latest: 9 }])).toBe(9);
});

it("reads names of slots back, whatever is in the topic's name", () => {
  fc.assert(
    fc.property(fc.string(), fc.nat(1000), (topic, partition) => {
      expect(slotOf(slotName({ topic, partition }))).toEqual({ topic, partition });
    }),
    { seed: 1 },
  );
});
