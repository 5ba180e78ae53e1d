import fc from "fast-check";
import { expect, it } from "vitest";
import { AppendQueue } from "../src/append-queue.ts";

it("keeps order, limits and offsets, one batch at a time, whatever comes while one is under way", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(fc.integer({ min: 0, max: 120 }), { maxLength: 12 }), { maxLength: 12 }), async (bursts) => {
      const taken: number[][] = [];
      let next = 1000;
      let underWay = 0;
      const send = async (items: readonly number[]) => {
        expect(++underWay).toBe(1);
        await new Promise(setImmediate);
        underWay--;
        taken.push([...items]);
        next += items.length;
        return next - items.length;
      };
      const queue = new AppendQueue<number>(send, { maxBytes: 100, maxItems: 4 });
      const offsets: Promise<number>[] = [];
      for (const burst of bursts) {
        offsets.push(...burst.map((bytes) => queue.add({ item: bytes, bytes })));
        await Promise.resolve();
      }
      const sizes = bursts.flat();
      expect(await Promise.all(offsets)).toEqual(sizes.map((_, i) => 1000 + i));
      expect(taken.flat()).toEqual(sizes);
      for (const batch of taken) {
        expect(batch.length).toBeLessThanOrEqual(4);
        if (batch.length > 1) expect(batch.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(100);
      }
    }),
    { seed: 1, numRuns: 60 },
  );
});

it("rejects a batch that failed and goes on with those behind it", async () => {
  let failing = true;
  const send = async () => {
    if (!failing) return 7;
    failing = false;
    throw new Error("away");
  };
  const queue = new AppendQueue<string>(send, { maxBytes: 10, maxItems: 1 });
  const [first, second] = await Promise.allSettled([queue.add({ item: "a", bytes: 1 }), queue.add({ item: "b", bytes: 1 })]);
  expect(first).toMatchObject({ status: "rejected" });
  expect(second).toEqual({ status: "fulfilled", value: 7 });
});
