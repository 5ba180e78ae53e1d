import { join } from "node:path";
import { openMqttFrameSender } from "@smile/edge-agent/mqtt-frame-sender";
import { RowQueue } from "@smile/edge-agent/row-queue";
import { startEdgeAgent } from "@smile/edge-agent/service";
import { decodeLanes } from "@smile/he/lanes";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import type { Deployment } from "@smile/schemas/documents";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { startStreamProcessor } from "@smile/stream-processor/service";
import { expect, it } from "vitest";
import { collect } from "./support/collect.ts";
import { PLANT, smallDeployment, temporaryFolder } from "./support/small-deployment.ts";

/**
 * An attack that succeeds by nature, and is named in the threat model: encryption hides what was measured, not that and when something
 * was. Nothing in the program prevents it.
 */
const logger = silentLogger();
const START_MS = 1_700_000_000_000;

/** From and to in milliseconds of event time, the second one included, as a window includes the row at its end. */
type Span = readonly [fromMs: number, toMs: number];
const seconds = (...spans: readonly (readonly [from: number, to: number])[]): Span[] =>
  spans.map(([from, to]) => [START_MS + 1000 * from, START_MS + 1000 * to]);

/** When each machine of each gateway runs. Names stay in the plant. */
const plant = new Map([
  ["hall-1", { "press-1": seconds([0, 60]), "press-2": seconds([0, 20], [37, 60]), "press-3": seconds([12, 31], [32, 33], [55, 60]) }],
  ["hall-2", { "oven-1": seconds([3, 9], [40, 41]), "oven-2": seconds([0, 60]) }],
]);

/** What a stranger to the plant knows of a lane's machine, from the envelopes that the operator stores, never from a ciphertext. */
function running(frames: readonly Omit<Frame, "ciphertext">[], { featureSet, lanes: perBlock }: Deployment): Map<number, Span[]> {
  const { lengthMs } = featureSet.window;
  const spans = new Map<number, [number, number][]>();
  for (const { block, lanes, frameTimeMs } of frames.toSorted((a, b) => a.frameTimeMs - b.frameTimeMs)) {
    for (const lane of decodeLanes(lanes, perBlock).map((each) => block * perBlock + each)) {
      const known = spans.get(lane) ?? [];
      spans.set(lane, known);
      const last = known.at(-1);
      if (last !== undefined && frameTimeMs - lengthMs <= last[1]) last[1] = frameTimeMs;
      else known.push([frameTimeMs - lengthMs, frameTimeMs]);
    }
  }
  return spans;
}

it("whoever sees the envelopes knows to the window when each machine ran", async () => {
  const gateways = [...plant.keys()];
  using small = await smallDeployment({ scheme: "bgv", gateways });
  using folder = temporaryFolder();
  const { deployment } = small.deployed;
  await using log = await openTemporaryLog({ logger });
  const loopback = { host: "127.0.0.1", port: 0 };
  await using processor = await startStreamProcessor({
    ...{ log, logger, deployments: [deployment], plants: small.registry, frames: loopback, scores: loopback, partitions: 1 },
    limits: { lingerMs: 5, openPerKind: 4 },
  });
  const truth = new Map<number, readonly Span[]>();
  await Promise.all(
    [...plant].map(async ([gateway, machines], i) => {
      const lease = { gateway, firstLane: i * deployment.lanes, machines: Object.keys(machines) };
      Object.values(machines).forEach((spans, m) => {
        truth.set(lease.firstLane + m, spans);
      });
      const source = new RowQueue();
      await using agent = await startEdgeAgent(
        {
          ...{ plant: PLANT, gateway, deployment, lease, storePath: join(folder.path, `${gateway}.db`), atEnd: "flush", lingerMs: 5 },
          key: { keyId: small.keys.keyId, bytes: small.keys.publicKey },
          signingKey: small.plant.signingKeys.get(gateway)!,
        },
        { source, openSender: async () => openMqttFrameSender({ url: processor.framesUrl, plant: PLANT, gateway, logger }) },
        logger,
      );
      for (let timeMs = START_MS + 500; timeMs <= START_MS + 60_000; timeMs += 500) {
        for (const [machine, spans] of Object.entries(machines)) {
          if (!spans.some(([fromMs, toMs]) => fromMs < timeMs && timeMs <= toMs)) continue;
          const values = Object.fromEntries(["a", "b", "c", "d"].map((sensor, s) => [sensor, Math.sin(timeMs * (s + 1))]));
          await source.push({ machine, timeMs, values });
        }
      }
      source.end();
      await agent.done;
    }),
  );

  const { accepted } = processor.counters.ingress;
  const records = await collect(log, LOG_TOPICS.frames, ({ length }) => length >= accepted);
  const seen = records.map(({ value }) => {
    const { ciphertext: _, ...envelope } = frameCodec.decode(value);
    return envelope;
  });
  expect(JSON.stringify(seen)).not.toMatch(/press|oven/);
  expect(Object.fromEntries(running(seen, deployment))).toEqual(Object.fromEntries(truth));
});
