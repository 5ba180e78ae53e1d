import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import type { Log } from "@smile/runtime/log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { batchCodec } from "@smile/schemas/envelopes";
import { framesTopic, LOG_TOPICS } from "@smile/schemas/topics";
import { expect, it } from "vitest";
import { collect } from "../../test/support/collect.ts";
import { PLANT, type SmallDeployment, smallDeployment, temporaryFolder } from "../../test/support/small-deployment.ts";
import { watchedLog } from "../../test/support/watched-log.ts";
import { type StreamProcessor, startStreamProcessor } from "../src/service.ts";

const loopback = { host: "127.0.0.1", port: 0 };
const logger = silentLogger();
const COUNT = 5;

const start = (log: Log, small: SmallDeployment) =>
  startStreamProcessor({
    log,
    logger,
    deployments: [small.deployed.deployment],
    plants: small.registry,
    frames: loopback,
    scores: loopback,
    limits: { lingerMs: 0, openPerKind: 4 },
    partitions: 2,
  });

async function publish(processor: StreamProcessor, payloads: readonly Uint8Array[]): Promise<void> {
  await using gateway = openMqtt({ url: processor.framesUrl, clientId: "g", logger });
  await gateway.ready();
  await Promise.all(payloads.map((payload) => gateway.publish(framesTopic(PLANT, "g"), payload)));
}

const captured = (small: SmallDeployment) =>
  Array.from({ length: COUNT }, (_, i) => small.encode(small.frame("g", i, [{ lane: i, features: small.window(i) }])));

const framesIn = async (log: Log) => (await log.ends(LOG_TOPICS.frames)).reduce((sum, { latest }) => sum + latest, 0);
const mergedIn = async (log: Log, count: number) => {
  const parts = ({ value }: { value: Uint8Array }) => batchCodec.decode(value).parts.map(({ sequence }) => sequence);
  return (await collect(log, LOG_TOPICS.batches, (all) => all.flatMap(parts).length >= count)).flatMap(parts).sort((a, b) => a - b);
};

it.each([
  ["stopped", false],
  ["killed before it could leave a snapshot", true],
])("appends no captured frame again after the processor was %s", async (_, killed) => {
  using small = await smallDeployment();
  using folder = temporaryFolder();
  const path = join(folder.path, "log.db");
  const payloads = captured(small);
  {
    await using log = await openEmbeddedLog({ path, logger });
    const watched = watchedLog(log, async ([record]) => {
      // A dead process says no more: for the log that is a snapshot that never comes.
      if (killed && record!.topic === LOG_TOPICS.seenFrames) throw new Error("killed");
    });
    await using processor = await start(watched, small);
    await publish(processor, payloads);
    await publish(processor, payloads); // while it runs, too
    expect(processor.counters.ingress).toMatchObject({ accepted: COUNT, replayed: COUNT });
    await mergedIn(log, COUNT);
    while (processor.counters.merging.frames < COUNT) await nextTurn();
  }
  await using log = await openEmbeddedLog({ path, logger });
  await using processor = await start(log, small);
  await publish(processor, payloads);
  expect(processor.counters.ingress).toMatchObject({ accepted: 0, replayed: COUNT });
  expect(await framesIn(log)).toBe(COUNT);
  // What is new goes on.
  await publish(processor, [small.encode(small.frame("g", COUNT, [{ lane: 0, features: small.window(1) }]))]);
  expect(await mergedIn(log, COUNT + 1)).toEqual([0, 1, 2, 3, 4, 5]);
});

it("merges no captured frame a second time that another ingress, which does not know it, appended after a restart", async () => {
  using small = await smallDeployment();
  using folder = temporaryFolder();
  const path = join(folder.path, "log.db");
  const payloads = captured(small);
  {
    await using log = await openEmbeddedLog({ path, logger });
    await using processor = await start(log, small);
    await publish(processor, payloads);
    await mergedIn(log, COUNT);
    while (processor.counters.merging.frames < COUNT) await nextTurn();
  }
  await using log = await openEmbeddedLog({ path, logger });
  await log.append(payloads.map((value) => ({ topic: LOG_TOPICS.frames, key: PLANT, value })));
  await using processor = await start(log, small);
  while (processor.counters.merging.frames < COUNT) await nextTurn();
  expect(processor.counters.merging).toMatchObject({ batches: 0, repeated: COUNT });
  expect(await mergedIn(log, COUNT)).toEqual([0, 1, 2, 3, 4]);
});
