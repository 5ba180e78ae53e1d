import { expect, it } from "vitest";
import { RowQueue } from "../src/row-queue.ts";

const row = (timeMs: number) => ({ machine: "a", timeMs, values: {} });

it("makes a producer wait while it is full, and hands rows on in order", async () => {
  const queue = new RowQueue({ capacity: 2, largestBatch: 2 });
  await queue.push(row(1));
  await queue.push(row(2));
  expect(queue.offer(row(3))).toBe(false);
  const third = queue.push(row(3)).then(() => queue.end());
  const taken: number[] = [];
  for await (const { rows, position } of queue.batches(new AbortController().signal)) {
    taken.push(...rows.map(({ timeMs }) => timeMs));
    queue.ack(position);
  }
  await third;
  expect(taken).toEqual([1, 2, 3]);
  expect(queue.acknowledged).toBe(3);
});

it("refuses rows once its agent stops, also those that wait for room", async () => {
  const stop = new AbortController();
  const queue = new RowQueue({ capacity: 1 });
  const batches = queue.batches(stop.signal);
  await queue.push(row(1));
  await batches.next();
  await queue.push(row(2));
  const waiting = queue.push(row(3));
  stop.abort();
  await expect(waiting).rejects.toMatchObject({ code: "STOPPED" });
  expect((await batches.next()).done).toBe(true);
});
