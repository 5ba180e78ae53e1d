import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { expect, it } from "vitest";
import { zeroCounters } from "../src/counters.ts";
import { type FrameSender, SpoolPublisher } from "../src/publisher.ts";
import { EdgeStore } from "../src/store.ts";
import { aFrame, newFolder, takeAll } from "./fixture.ts";

const owner = { plant: "plant", gateway: "gateway-1", featureSetId: "aa" };
const forever = new AbortController().signal;
const finished = AbortSignal.abort();

function spoolOf(sizes: readonly number[], path = join(newFolder(), "edge.db")): EdgeStore {
  const store = new EdgeStore(path, owner);
  const frames = sizes.map((size, sequence) => aFrame(sequence, size));
  store.commit({ frames, states: [], opened: [], closed: [] });
  return store;
}

function publisher(store: EdgeStore, send: FrameSender["send"], window = 3) {
  const counters = zeroCounters();
  const refused: number[] = [];
  const rule = { window, largestBytes: 10, retryMs: 1, backlogFramesPerSecond: 200 };
  return { counters, refused, publisher: new SpoolPublisher(store, { send }, rule, counters, (sequence) => refused.push(sequence)) };
}

it("sends in order with no more than the window under way, and empties the spool", async () => {
  using store = spoolOf(new Array(100).fill(5));
  const order: number[] = [];
  let underWay = 0;
  let most = 0;
  const made = publisher(store, async (envelope) => {
    order.push(envelope[0]!);
    most = Math.max(most, ++underWay);
    await new Promise(setImmediate);
    underWay--;
  });
  await made.publisher.run(forever, finished);
  expect(order).toEqual(Array.from({ length: 100 }, (_, i) => i));
  expect(most).toBe(3);
  expect(store.depth).toEqual({ frames: 0, bytes: 0 });
  expect(made.counters).toMatchObject({ published: 100, publishedBytes: 500 });
});

it("puts a frame that no broker takes into quarantine without sending it, and sends its neighbours", async () => {
  using store = spoolOf([5, 11, 5]);
  const order: number[] = [];
  const made = publisher(store, async (envelope) => void order.push(envelope[0]!));
  await made.publisher.run(forever, finished);
  expect(order).toEqual([0, 2]);
  expect(made.refused).toEqual([1]);
  expect(store.depth.frames).toBe(0);
  expect(store.quarantined).toBe(1);
});

it("sends again what was not acknowledged", async () => {
  using store = spoolOf([5]);
  let tries = 0;
  const made = publisher(store, async () => {
    if (++tries < 4) throw new PipelineError("BROKER_DOWN", "away");
  });
  await made.publisher.run(forever, finished);
  expect(tries).toBe(4);
  expect(store.depth.frames).toBe(0);
});

it("keeps what is not acknowledged in the spool when it is stopped", async () => {
  const path = join(newFolder(), "edge.db");
  using store = spoolOf([5, 5], path);
  const stop = new AbortController();
  const closed = Promise.withResolvers<never>();
  const made = publisher(store, async (envelope) => {
    if (envelope[0] === 0) return;
    stop.abort();
    return closed.promise;
  });
  await made.publisher.run(stop.signal, new AbortController().signal);
  closed.reject(new PipelineError("STOPPED", "closed"));
  await made.publisher.settled();
  expect(store.depth.frames).toBeGreaterThan(0);
  store[Symbol.dispose]();
  using again = new EdgeStore(path, owner);
  expect(takeAll(again).map(({ sequence }) => sequence)).toContain(1);
  expect(made.counters.quarantined).toBe(0);
});
