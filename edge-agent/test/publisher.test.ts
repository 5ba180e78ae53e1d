import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { gapCodec } from "@smile/schemas/envelopes";
import { isGapSigned } from "@smile/schemas/signing";
import { expect, it } from "vitest";
import { zeroCounters } from "../src/counters.ts";
import { type FrameSender, SpoolPublisher } from "../src/publisher.ts";
import type { SealedFrame } from "../src/spool.ts";
import { EdgeStore } from "../src/store.ts";
import { aFrame, gapSealer, newFolder, signingKey, takeAll } from "./fixture.ts";

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
  const parts = { spool: store, sealer: gapSealer, sender: { send } };
  return { counters, refused, publisher: new SpoolPublisher(parts, rule, counters, (sequence) => refused.push(sequence)) };
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

/** A broker that is away until told otherwise; what arrives, in order: a frame's sequence, or a gap's as text. */
class Broker {
  readonly arrived: (number | string)[] = [];
  #isThere = Promise.withResolvers<void>();
  #waiting: { count: number; resolve: () => void }[] = [];

  readonly send = async (envelope: Uint8Array): Promise<void> => {
    await this.#isThere.promise;
    await new Promise(setImmediate);
    this.arrived.push(gapCodec.claims(envelope) ? gapText(envelope) : Buffer.from(envelope).readUInt32LE(4));
    for (const { count, resolve } of this.#waiting) if (this.arrived.length >= count) resolve();
  };

  comeBack(): void {
    this.#isThere.resolve();
  }

  async count(count: number): Promise<void> {
    if (this.arrived.length >= count) return;
    await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
  }
}

const gapText = (envelope: Uint8Array) => {
  const gap = gapCodec.decode(envelope);
  expect(isGapSigned(gap, [signingKey])).toBe(true);
  const { fromSequence, toSequence, windows } = gap;
  return `${fromSequence}-${toSequence}: ${windows}`;
};
const numbered = (sequence: number, size = 300): SealedFrame => {
  const envelope = Buffer.alloc(size);
  envelope.writeUInt32LE(sequence, 4);
  return { sequence, envelope, windows: 2, frameTimeMs: sequence };
};

it("after an outage sends what is new first, the backlog at its rate, each in order, and a gap in its place", async () => {
  using store = new EdgeStore(join(newFolder(), "edge.db"), owner, { bounds: { maxBytes: 300 * 150, maxAgeMs: 1e9 } });
  const commit = (count: number) => {
    const frames = Array.from({ length: count }, (_, i) => numbered(store.nextSequence + i));
    return store.commit({ frames, states: [], opened: [], closed: [] }).frames;
  };
  const broker = new Broker();
  const rule = { window: 4, largestBytes: 1000, retryMs: 1, backlogFramesPerSecond: 100 };
  const counters = zeroCounters();
  const made = new SpoolPublisher({ spool: store, sealer: gapSealer, sender: broker }, rule, counters, () => {});
  const finish = new AbortController();
  const running = made.run(forever, finish.signal);
  commit(10);
  made.wake();
  await new Promise(setImmediate); // four are under way now
  let dropped = 0;
  for (let i = 0; i < 19; i++) dropped += commit(10);
  const kept = 200 - dropped;
  expect(kept).toBeGreaterThan(100); // so that there is a backlog
  const startedMs = performance.now();
  made.connected();
  broker.comeBack();
  await broker.count(20);
  for (let i = 0; i < 30; i++) {
    commit(1);
    made.wake();
    await broker.count(21 + i);
  }
  finish.abort();
  await running;
  const tookMs = performance.now() - startedMs;

  const frames = broker.arrived.filter((each) => typeof each === "number");
  const live = frames.filter((each) => each >= 200);
  const backlog = broker.arrived.filter((each) => typeof each === "string" || each < 200);
  const last = 3 + dropped;
  expect(live).toEqual(Array.from({ length: 30 }, (_, i) => 200 + i));
  expect(backlog).toEqual([0, 1, 2, 3, `4-${last}: ${2 * dropped}`, ...Array.from({ length: 199 - last }, (_, i) => last + 1 + i)]);
  expect(tookMs).toBeGreaterThan(1000 * ((kept - 4 - 10) / 100 - 0.1)); // the rate, less what was under way and the burst
  // Each live frame found at most the messages under way and the backlog's turn before it.
  const places = live.map((each) => broker.arrived.indexOf(each));
  for (let i = 1; i < places.length; i++) expect(places[i]! - places[i - 1]!).toBeLessThanOrEqual(2 * rule.window);
  expect(counters).toMatchObject({ published: 230 - dropped, gapsPublished: 1 });
  expect([store.depth.frames, store.gaps, store.unsent]).toEqual([0, 0, 0]);
});

it("keeps the order where no more waits than can be sent within a second, however often the connection is made anew", async () => {
  const store = spoolOf(new Array(100).fill(5));
  const order: number[] = [];
  const made = publisher(store, async (envelope) => {
    order.push(envelope[0]!);
    made.publisher.connected();
    await new Promise(setImmediate);
  });
  await made.publisher.run(forever, finished);
  expect(order).toEqual(Array.from({ length: 100 }, (_, i) => i));
});
