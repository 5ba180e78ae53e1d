import { statSync } from "node:fs";
import { join } from "node:path";
import { type Gap, gapCodec } from "@smile/schemas/envelopes";
import { expect, it } from "vitest";
import { zeroCounters } from "../src/counters.ts";
import { SpoolPublisher } from "../src/publisher.ts";
import { EdgeStore } from "../src/store.ts";
import { gapSealer, newFolder } from "./fixture.ts";

const FRAMES = 20_000;
const owner = { plant: "plant", gateway: "gateway-1", featureSetId: "aa" };
const nothing = { states: [], opened: [], closed: [] };

it("through an outage of 20,000 frames the spool and its file keep their bounds, and afterwards all that was kept is delivered", async () => {
  const maxBytes = 8 << 20;
  const path = join(newFolder(), "edge.db");
  const arrived: number[] = [];
  const gaps: Gap[] = [];
  const isThere = Promise.withResolvers<void>();
  const send = async (envelope: Uint8Array) => {
    await isThere.promise;
    if (gapCodec.claims(envelope)) gaps.push(gapCodec.decode(envelope));
    else arrived.push(Buffer.from(envelope).readUInt32LE(4));
  };
  const finish = new AbortController();
  using store = new EdgeStore(path, owner, { bounds: { maxBytes, maxAgeMs: 1e12 } });
  const rule = { window: 16, largestBytes: 1 << 20, retryMs: 1, backlogFramesPerSecond: 100_000 };
  const publisher = new SpoolPublisher({ spool: store, sealer: gapSealer, sender: { send } }, rule, zeroCounters(), () => {});
  const running = publisher.run(new AbortController().signal, finish.signal);
  let dropped = 0;
  let largestFile = 0;
  for (let from = 0; from < FRAMES; from += 16) {
    const frames = Array.from({ length: 16 }, (_, i) => {
      const envelope = Buffer.alloc(1500 + 8 * (i % 4));
      envelope.writeUInt32LE(from + i, 4);
      return { sequence: from + i, envelope, windows: 3, frameTimeMs: from + i };
    });
    dropped += store.commit({ ...nothing, frames }).frames;
    expect(store.depth.bytes).toBeLessThanOrEqual(maxBytes);
    if (from % 1600 === 0) {
      publisher.wake();
      await new Promise(setImmediate);
      largestFile = Math.max(largestFile, statSync(path).size + statSync(`${path}-wal`).size);
    }
  }
  isThere.resolve();
  publisher.connected();
  finish.abort();
  await running;

  expect(dropped).toBeGreaterThan(FRAMES / 2);
  expect(largestFile).toBeLessThan(1.5 * maxBytes + (6 << 20)); // pages that a frame does not fill, and the journal
  expect(gaps).toMatchObject([{ fromSequence: 16, toSequence: 15 + dropped, frames: dropped, windows: 3 * dropped, reason: "bytes" }]);
  const kept = Array.from({ length: FRAMES }, (_, i) => i).filter((i) => i < 16 || i >= 16 + dropped);
  expect(arrived).toEqual(kept);
  expect([store.depth.frames, store.gaps]).toEqual([0, 0]);
});
