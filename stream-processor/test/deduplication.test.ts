import { openTemporaryLog } from "@smile/runtime/embedded-log";
import type { Log } from "@smile/runtime/log";
import { silentLogger } from "@smile/runtime/logging";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { describe, expect, it } from "vitest";
import { Deduplication } from "../src/deduplication.ts";

const logger = silentLogger();
const signal = new AbortController().signal;
const at = (offset: number, partition = 0) => ({ topic: LOG_TOPICS.frames, partition, offset });
const frame = (sequence: number) => ({ plant: "p", gateway: "g", epoch: 1, sequence });
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
});
