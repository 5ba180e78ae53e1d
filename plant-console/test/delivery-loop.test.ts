import { silentLogger } from "@smile/runtime/logging";
import type { CursorMessage } from "@smile/schemas/cursor";
import { deliveryCodec } from "@smile/schemas/envelopes";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { startDeliveryLoop } from "../src/delivery-loop.ts";
import { RareWarnings } from "../src/rare-warnings.ts";
import type { LinkHandlers } from "../src/score-link.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** A loop whose link keeps the cursors, and the handlers of that link. */
function open() {
  const cursors: CursorMessage[] = [];
  const { promise: handlers, resolve } = Promise.withResolvers<LinkHandlers>();
  const loop = startDeliveryLoop({
    plant: "north",
    openLink: (given) => {
      resolve(given);
      return { connected: true, sendCursor: async (cursor) => void cursors.push(cursor), [Symbol.asyncDispose]: async () => {} };
    },
    cursor: { topicId: null, partition: null, next: null },
    read: ({ offset }) => ({ kind: "read", value: offset }),
    store: () => () => {},
    counts: { add: () => {}, addRefused: (code) => expect.fail(code) },
    warnings: new RareWarnings(silentLogger()),
    logger: silentLogger(),
  });
  return { loop, cursors, handlers };
}

const delivery = (offset: number) => deliveryCodec.encode({ topicId: "t", partition: 0, from: offset, offset, score: new Uint8Array([1]) });

it("asks again soon when nothing comes, and ever more rarely while nothing comes", async () => {
  const { loop, cursors, handlers } = open();
  (await handlers).onConnected();
  await vi.advanceTimersByTimeAsync(2000);
  expect(cursors).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(cursors).toHaveLength(2 + 4);
  await vi.advanceTimersByTimeAsync(320_000);
  expect(cursors).toHaveLength(6 + 10);
  expect(cursors.every(({ resume }) => resume)).toBe(true);
  (await handlers).onConnected();
  await vi.advanceTimersByTimeAsync(40_000);
  await loop[Symbol.asyncDispose]();
});

it("sends a plant of one score a minute no more than four cursors a minute", async () => {
  const { loop, cursors, handlers } = open();
  const { onDelivery, onConnected } = await handlers;
  onConnected();
  for (let minute = 0; minute < 60; minute++) {
    await onDelivery(delivery(minute));
    await vi.advanceTimersByTimeAsync(60_000);
  }
  expect(cursors.length).toBeGreaterThan(60);
  expect(cursors.length).toBeLessThan(60 * 4);
  await loop[Symbol.asyncDispose]();
});
