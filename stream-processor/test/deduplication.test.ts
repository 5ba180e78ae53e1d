import { openTemporaryLog } from "@smile/runtime/embedded-log";
import type { Log } from "@smile/runtime/log";
import { silentLogger } from "@smile/runtime/logging";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { describe, expect, it } from "vitest";
import { Deduplication } from "../src/deduplication.ts";

const logger = silentLogger();
const signal = new AbortController().signal;
const at = (offset: number, partition = 0) => ({ topic: LOG_TOPICS.frames, partition, offset });
const frame = (sequence: number) => ({ plant: "p", gateway: "g", epoch: 1, sequence });
const envelope: Frame = {
  ...frame(0),
  scheme: "identity",
  keyMode: "public",
  paramsId: "0".repeat(64),
  keyId: "1".repeat(64),
  featureSetId: "2".repeat(64),
  block: 0,
  lanes: Uint8Array.of(1),
  frameTimeMs: 0,
  closedAtMs: 0,
  jobId: null,
  frameCount: null,
  ciphertextHash: "3".repeat(64),
  ciphertext: new Uint8Array(0),
  signature: new Uint8Array(0),
};
const LATER_MS = 60_000;

async function openLog(): Promise<Log> {
  const log = await openTemporaryLog({ logger });
  await log.ensureTopics([
    { name: LOG_TOPICS.seenFrames, partitions: 3 },
    { name: LOG_TOPICS.frames, partitions: 6 },
  ]);
  return log;
}

/** A frame that comes, waits and leaves in a durable batch. */
async function pass(deduplication: Deduplication, offset: number, sequence: number, partition = 0): Promise<void> {
  await deduplication.follow(at(offset, partition), signal);
  deduplication.opened(at(offset, partition), frame(sequence));
  deduplication.dealtWith(at(offset, partition), frame(sequence));
}

describe("deduplication of frames", () => {
  it("knows a frame that left in a batch, and one that waits under another offset", async () => {
    await using log = await openLog();
    const deduplication = new Deduplication(log, 0);
    await pass(deduplication, 0, 7);
    await deduplication.follow(at(1), signal);
    expect(deduplication.isRepeated(at(1), frame(7))).toBe(true);
    expect(deduplication.isRepeated(at(1), frame(8))).toBe(false);
    deduplication.opened(at(1), frame(8));
    await deduplication.follow(at(2), signal);
    expect(deduplication.isRepeated(at(2), frame(8))).toBe(true);
  });

  it("knows after a restart what its snapshot held, in whichever partition", async () => {
    await using log = await openLog();
    const before = new Deduplication(log, 0);
    await pass(before, 0, 1, 0);
    await pass(before, 0, 2, 5);
    await before.save(LATER_MS);
    const after = new Deduplication(log, 0);
    await after.follow(at(1, 0), signal);
    await after.follow(at(1, 5), signal);
    expect(after.isRepeated(at(1, 0), frame(1))).toBe(true);
    expect(after.isRepeated(at(1, 5), frame(2))).toBe(true);
    expect(after.isRepeated(at(1, 0), frame(2))).toBe(false);
  });

  it("never claims a frame that only waited when the process died: it is read again and must be merged", async () => {
    await using log = await openLog();
    const before = new Deduplication(log, 0);
    await pass(before, 0, 1);
    await before.follow(at(1), signal);
    before.opened(at(1), frame(2));
    await before.save(LATER_MS);
    const after = new Deduplication(log, 0);
    await after.follow(at(1), signal);
    expect(after.isRepeated(at(1), frame(2))).toBe(false);
  });

  it("takes up what another member merged while it had the partition", async () => {
    await using log = await openLog();
    const [first, second] = [new Deduplication(log, 0), new Deduplication(log, 0)];
    await pass(first, 0, 1);
    await first.save(LATER_MS);
    await pass(second, 1, 2);
    await second.save(LATER_MS);
    await first.follow(at(2), signal);
    expect(first.isRepeated(at(2), frame(2))).toBe(true);
    expect(first.isRepeated(at(2), frame(1))).toBe(true);
  });

  it("lets frames pass again that it gets again because it lost and regained the partition before they were durable", async () => {
    await using log = await openLog();
    const deduplication = new Deduplication(log, 0);
    for (const offset of [0, 1, 2]) {
      await deduplication.follow(at(offset), signal);
      deduplication.opened(at(offset), frame(offset));
    }
    await deduplication.follow(at(0), signal);
    expect(deduplication.isRepeated(at(0), frame(0))).toBe(false);
  });

  /** Frames in the log as ingress puts them, from offset 0 on. */
  async function appendFrames(log: Log, sequences: readonly number[]): Promise<number> {
    const value = (sequence: number) => frameCodec.encode({ ...envelope, sequence });
    const [position] = await log.append(sequences.map((each) => ({ topic: LOG_TOPICS.frames, key: "p", value: value(each) })));
    return position!.partition;
  }

  it("knows frames that were settled since the last snapshot, or without any", async () => {
    await using log = await openLog();
    const partition = await appendFrames(log, [7, 8, 9]);
    const after = new Deduplication(log, 0);
    await after.follow(at(3, partition), signal);
    for (const sequence of [7, 8, 9]) expect(after.isRepeated(at(3, partition), frame(sequence))).toBe(true);
    expect(after.isRepeated(at(3, partition), frame(10))).toBe(false);
  });

  it("claims no frame that is open here when it reads what others settled behind it", async () => {
    await using log = await openLog();
    const partition = await appendFrames(log, [7, 8, 9]);
    const deduplication = new Deduplication(log, 0);
    await deduplication.follow(at(0, partition), signal);
    deduplication.opened(at(0, partition), frame(7));
    await deduplication.follow(at(3, partition), signal); // 1 and 2 went to another member
    expect(deduplication.isRepeated(at(3, partition), frame(8))).toBe(true);
    expect(deduplication.isRepeated(at(0, partition), frame(7))).toBe(false);
    deduplication.opened(at(3, partition), frame(10));
    deduplication.dealtWith(at(3, partition), frame(10));
    await deduplication.saveAll();
    const after = new Deduplication(log, 0);
    await after.follow(at(0, partition), signal);
    expect(after.isRepeated(at(0, partition), frame(7))).toBe(false);
    expect(after.isRepeated(at(0, partition), frame(10))).toBe(true);
  });

  it("finds its last snapshot behind any number of others", async () => {
    await using log = await openLog();
    const before = new Deduplication(log, 0);
    await pass(before, 0, 1);
    await before.saveAll();
    const others = { topic: LOG_TOPICS.seenFrames, key: "5", value: Buffer.from('{"upTo":0,"seen":[]}') };
    const same = { ...others, key: "0" };
    await log.append(Array.from({ length: 300 }, () => others));
    const after = new Deduplication(log, 0);
    await after.follow(at(1), signal);
    expect(after.isRepeated(at(1), frame(1))).toBe(true);
    await log.append([same]);
    const emptied = new Deduplication(log, 0);
    await emptied.follow(at(1), signal);
    expect(emptied.isRepeated(at(1), frame(1))).toBe(false);
  });

  it("reads snapshots of version 0.1", async () => {
    await using log = await openLog();
    const old = [{ plant: "p", gateway: "g", epoch: 1, ranges: [3, 5] }];
    await log.append([{ topic: LOG_TOPICS.seenFrames, key: "0", value: Buffer.from(JSON.stringify(old)) }]);
    const deduplication = new Deduplication(log, 0);
    await deduplication.follow(at(0), signal);
    expect([2, 3, 5, 6].map((sequence) => deduplication.isRepeated(at(0), frame(sequence)))).toEqual([false, true, true, false]);
  });

  it("leaves a snapshot every half minute, or sooner after many frames, and none when nothing came", async () => {
    await using log = await openLog();
    const deduplication = new Deduplication(log, 0);
    const saved = async () => (await log.ends(LOG_TOPICS.seenFrames)).reduce((sum, { latest }) => sum + latest, 0);
    await pass(deduplication, 0, 0);
    await deduplication.save(29_000);
    expect(await saved()).toBe(0);
    await deduplication.save(31_000);
    expect(await saved()).toBe(1);
    await deduplication.save(90_000);
    expect(await saved()).toBe(1);
    for (let i = 1; i <= 2000; i++) await pass(deduplication, i, i);
    await deduplication.save(90_001);
    expect(await saved()).toBe(2);
    await deduplication.save(90_001 + 24 * 3_600_000);
    expect(await saved()).toBe(3);
  });
});
