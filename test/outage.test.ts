import { createPublicKey } from "node:crypto";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { openMqttFrameSender } from "@smile/edge-agent/mqtt-frame-sender";
import { RowQueue } from "@smile/edge-agent/row-queue";
import { type EdgeAgentConfig, startEdgeAgent } from "@smile/edge-agent/service";
import { frameLength } from "@smile/he/wire";
import { startModelService } from "@smile/model-service/service";
import { openDecryptionKeys } from "@smile/plant-console/decryption-keys";
import type { StoredGap } from "@smile/plant-console/gap-table";
import { mqttScoreLink } from "@smile/plant-console/score-link";
import { startPlantConsole } from "@smile/plant-console/service";
import { RiskStore, type StoredRisk } from "@smile/plant-console/store";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import type { Lease } from "@smile/schemas/documents";
import { startStreamProcessor } from "@smile/stream-processor/service";
import { expect, it } from "vitest";
import { freePort } from "./support/free-port.ts";
import { PLANT, smallDeployment, temporaryFolder } from "./support/small-deployment.ts";

const logger = silentLogger();
const loopback = { host: "127.0.0.1", port: 0 };
const gateway = "hall-1";
const lease: Lease = { gateway, firstLane: 0, machines: ["press-1", "press-2"] };
const sensors = ["a", "b", "c", "d"];

/** Rows of so many windows of a second, two per machine and window. */
async function push(source: RowQueue, fromWindow: number, windows: number): Promise<void> {
  for (let half = 2 * fromWindow; half < 2 * (fromWindow + windows); half++) {
    for (const machine of lease.machines) {
      const values = Object.fromEntries(sensors.map((sensor, i) => [sensor, Math.sin(half * (i + 1))]));
      await source.push({ machine, timeMs: 1_700_000_000_000 + 500 * half, values });
    }
  }
}

async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await nextTurn();
}

it("after an outage longer than the spool the plant has every window that was kept, and knows of the others", async () => {
  using small = await smallDeployment({ gateways: [gateway] });
  using folder = temporaryFolder();
  const { deployment } = small.deployed;
  const port = await freePort();
  const maxBytes = 40 * (frameLength(small.params, "public") + 1024);
  const config: EdgeAgentConfig = {
    ...{ plant: PLANT, gateway, deployment, lease, storePath: join(folder.path, "edge.db") },
    key: { keyId: small.keys.keyId, bytes: small.keys.publicKey },
    signingKey: small.plant.signingKeys.get(gateway)!,
    ...{ lingerMs: 60_000, commitMs: 10, retryMs: 5, window: 2, backlogFramesPerSecond: 25, atEnd: "keep" },
    spoolBounds: { maxBytes },
  };
  const url = `mqtt://127.0.0.1:${port}`;
  const reconnectMs = { first: 5, last: 20 };
  const openSender = async (onConnected: () => void) =>
    openMqttFrameSender({ url, plant: PLANT, gateway, logger, onConnected, reconnectMs });

  // The broker is away; the agent stops and starts again meanwhile.
  const before = { frames: 0, droppedFrames: 0 };
  {
    const source = new RowQueue();
    await using agent = await startEdgeAgent(config, { source, openSender }, logger);
    await push(source, 0, 60);
    await until(() => agent.counters.frames >= 59);
    Object.assign(before, agent.counters);
  }
  const source = new RowQueue();
  await using agent = await startEdgeAgent({ ...config, atEnd: "flush" }, { source, openSender }, logger);
  await push(source, 60, 40);
  await until(() => agent.counters.frames >= 40);
  expect(before.droppedFrames + agent.counters.droppedFrames).toBeGreaterThan(50);
  expect(agent.spool.bytes).toBeLessThanOrEqual(maxBytes);
  const boundary = before.frames + agent.counters.frames;

  await using log = await openTemporaryLog({ logger });
  const services = { log, logger, partitions: 1, plants: small.registry };
  const limits = { lingerMs: 5, openPerKind: 4 };
  const frames = { host: "127.0.0.1", port };
  await using processor = await startStreamProcessor({ ...services, deployments: [deployment], frames, scores: loopback, limits });
  await using _models = await startModelService({
    ...services,
    deployments: [small.served],
    signingKey: small.scoreSigner,
    pool: { threads: 1 },
  });
  const { keyId, secretKey } = small.keys;
  const { paramsId } = small.publicKey;
  using keys = await openDecryptionKeys(deployment, [{ gateway: null, paramsId, keyId, keyEpoch: 1, secretKey }]);
  using store = new RiskStore({ path: ":memory:", plant: PLANT });
  const trust = { plant: small.registry.find(PLANT)!, scoreSigners: [createPublicKey(small.scoreSigner)] };
  const risks: StoredRisk[] = [];
  const gaps: StoredGap[] = [];
  await using _console = await startPlantConsole({
    ...{ plant: PLANT, deployment, keys, leases: [lease], store, logger },
    trust: () => trust,
    openLink: mqttScoreLink({ url: processor.scoresUrl, plant: PLANT, logger }),
    onRisk: (risk) => risks.push(risk),
    onGap: (gap) => gaps.push(gap),
  });
  await until(() => agent.counters.published > 0);
  await push(source, 100, 10); // live, while the backlog follows
  source.end();
  await agent.done;
  const total = before.frames + agent.counters.frames;
  const dropped = before.droppedFrames + agent.counters.droppedFrames;
  await until(() => risks.length >= 2 * (total - dropped) && gaps.length >= agent.counters.gapsPublished);

  const sequences = [...new Set(risks.map(({ sequence }) => sequence))];
  expect(risks).toHaveLength(2 * sequences.length);
  const missing = gaps.flatMap(({ fromSequence, frames }) => Array.from({ length: frames }, (_, i) => fromSequence + i));
  expect([...sequences, ...missing].toSorted((a, b) => a - b)).toEqual(Array.from({ length: total }, (_, i) => i));
  expect(store.losses()).toEqual({ gaps: gaps.length, frames: dropped, windows: 2 * dropped });
  expect(gaps.every(({ gateway: from, reason }) => from === gateway && reason === "bytes")).toBe(true);
  expect(processor.counters.ingress).toMatchObject({ accepted: total - dropped, gaps: gaps.length, refused: {} });
  // New windows did not wait for the end of the backlog.
  expect(sequences.indexOf(boundary)).toBeLessThan(sequences.indexOf(boundary - 1));
});
