import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { writeJsonFile } from "@smile/runtime/json-file";
import { openKafkaLog } from "@smile/runtime/kafka-log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { scoreCodec } from "@smile/schemas/envelopes";
import { identityHash } from "@smile/schemas/plant-register";
import { signFrame } from "@smile/schemas/signing";
import { newSigningKey } from "@smile/schemas/signing-key";
import { framesTopic, LOG_TOPICS } from "@smile/schemas/topics";
import { startStreamProcessor } from "@smile/stream-processor/service";
import { expect, it } from "vitest";
import { fixturePlant } from "../schemas/test/fixture-register.ts";
import { freePort } from "./support/free-port.ts";
import { describeWithKafka } from "./support/kafka.ts";
import { smallDeployment, temporaryFolder } from "./support/small-deployment.ts";
import { startSmile } from "./support/smile-process.ts";

const logger = silentLogger();
const PARTITIONS = 8;
/** Names that fall into many of the partitions. */
const PLANTS = Array.from({ length: 16 }, (_, i) => `plant-${i}`);
/** Kafka allows no less; the others have a dead member's partitions after it. */
const SESSION_TIMEOUT_MS = 6000;
const TAKEOVER_MS = 15_000;

await describeWithKafka("model services share a real Kafka", (kafka) => {
  it("a second one takes over work in mid-run, and all of it when the first is killed: every acknowledged frame is scored", async () => {
    const { brokers } = kafka();
    using small = await smallDeployment({ scheme: "bgv" });
    using folder = temporaryFolder();
    const { deployment, heads } = small.deployed;
    writeJsonFile(join(folder.path, "deployment.json"), deployment);
    writeJsonFile(join(folder.path, "head.json"), heads[0]);
    // The same gateway and key in every plant: what is shared out is their partitions.
    const lanes = { first: 0, count: deployment.lanes };
    const key = { paramsId: small.publicKey.paramsId, keyId: small.keys.keyId, publicKey: small.keys.publicKey };
    const plants = new Map(PLANTS.map((plant) => [plant, fixturePlant({ plant, gateways: [{ gateway: "g", lanes }], keys: [key] })]));
    const registers = [...plants.values()].map(({ register }) => register);
    const settings = registers.map((register) => {
      writeJsonFile(join(folder.path, `${register.plant}.json`), register);
      return { register: `${register.plant}.json`, identity: identityHash(register.identity) };
    });
    writeJsonFile(join(folder.path, "signing-key.json"), newSigningKey("model service"), 0o600);
    const startModelService = async (name: string) => {
      const port = await freePort();
      const config = join(folder.path, `${name}.json`);
      writeJsonFile(config, {
        log: { kafka: { brokers, sessionTimeoutMs: SESSION_TIMEOUT_MS }, partitions: PARTITIONS },
        deployments: [{ deployment: "deployment.json", heads: ["head.json"] }],
        // Two services must not share one file of registers taken.
        plants: settings.map((each) => ({ ...each, taken: `${each.register}.${name}` })),
        signingKey: "signing-key.json",
        threads: 1,
        health: { port },
      });
      const process = startSmile(["model-service", "--config", config]);
      await process.line(/model service started/);
      return { process, scored: () => scoredBy(port) };
    };

    await using log = await openKafkaLog({ brokers, clientId: "test", logger });
    await using processor = await startStreamProcessor({
      log,
      logger,
      partitions: PARTITIONS,
      deployments: [deployment],
      plants: new FixedRegistry(registers),
      frames: { host: "127.0.0.1", port: 0 },
      scores: { host: "127.0.0.1", port: 0 },
      limits: { lingerMs: 5, openPerKind: 4 },
    });
    await using gateway = openMqtt({ url: processor.framesUrl, clientId: "g", logger });
    await gateway.ready();

    const acknowledged: string[] = [];
    const feeding = new AbortController();
    const feed = (async () => {
      for (let sequence = 0; !feeding.signal.aborted; sequence++) {
        await Promise.all(
          PLANTS.map(async (plant) => {
            const frame = small.frame("g", sequence, [{ lane: sequence % 100, features: small.window(sequence) }]);
            const signed = signFrame({ ...frame, plant }, plants.get(plant)!.signingKeys.get("g")!);
            await gateway.publish(framesTopic(plant, "g"), small.encode(signed));
            acknowledged.push(`${plant} ${sequence}`);
          }),
        );
      }
    })();
    const scored = new Set<string>();
    await using reading = readScores(log, (plant, sequence) => scored.add(`${plant} ${sequence}`));

    await using first = (await startModelService("first")).process;
    await until(() => scored.size > 0);
    const second = await startModelService("second");
    await using secondProcess = second.process;
    await until(async () => (await second.scored()) > 0);

    await first.stop("SIGKILL");
    const sinceKill = acknowledged.length;
    const killedMs = performance.now();
    // Plants of every partition go on: also those whose partitions the dead one had.
    await until(() => PLANTS.every((plant) => acknowledged.slice(sinceKill).some((id) => id.startsWith(`${plant} `) && scored.has(id))));
    expect(performance.now() - killedMs).toBeLessThan(TAKEOVER_MS);

    feeding.abort();
    await feed;
    await until(() => acknowledged.every((id) => scored.has(id)));
    expect(acknowledged.length).toBeGreaterThan(PLANTS.length);
    expect((await secondProcess.stop("SIGTERM")).code).toBe(0);
    await reading[Symbol.asyncDispose]();
  });
});

/** Reads every partition of the scores as they come. */
function readScores(log: Awaited<ReturnType<typeof openKafkaLog>>, onFrame: (plant: string, sequence: number) => void): AsyncDisposable {
  const stop = new AbortController();
  const readers = Array.from({ length: PARTITIONS }, async (_, partition) => {
    for (let offset = 0; !stop.signal.aborted; ) {
      const records = await log.read(
        { topic: LOG_TOPICS.scores, partition, offset },
        { maxRecords: 500, maxBytes: 1 << 24, waitMs: 500 },
        stop.signal,
      );
      for (const { value } of records) {
        const { plant, parts } = scoreCodec.decode(value);
        for (const { sequence } of parts) onFrame(plant, sequence);
      }
      offset = (records.at(-1)?.offset ?? offset - 1) + 1;
    }
  });
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all(readers);
    },
  };
}

async function scoredBy(port: number): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return Number(/^smile_model_service_batches_total(?:\{\})? (\d+)$/m.exec(text)?.[1] ?? 0);
}

/** Waits for a condition; the test's own time limit ends a wait for what never comes. */
async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await delay(20);
}
