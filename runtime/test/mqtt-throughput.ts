// Measures the way of a frame to its acknowledgement, `node runtime/test/mqtt-throughput.ts [seconds] [tls]`: mqtt.js -> aedes -> embedded
// log, flushed to the disk -> PUBACK, all in this process over loopback TCP, plain or with mutual TLS, with windows of 32.
import { openTemporaryLog } from "../src/embedded-log.ts";
import { silentLogger } from "../src/logging.ts";
import { startBroker } from "../src/mqtt-broker.ts";
import { openMqtt } from "../src/mqtt-client.ts";
import { FixedRegistry } from "../src/plant-registry.ts";
import { fixedTls } from "../src/tls-files.ts";

const secondsEach = Number(process.argv[2] ?? 3);
const withTls = process.argv[3] === "tls";
const logger = silentLogger();
const tls = withTls ? await certificates() : undefined;
const figures: Record<string, { perSecond: number; cpuMicros: number }> = {};

for (const [kilobytes, clients] of [
  [27, 1],
  [27, 8],
  [43, 1],
  [43, 8],
] as const) {
  await using log = await openTemporaryLog({ logger });
  await log.ensureTopics([{ name: "frames", partitions: 4 }]);
  await using broker = await startBroker({
    port: 0,
    logger,
    tls: tls?.broker,
    authorizePublish: async ({ clientId, payload }) => void (await log.append([{ topic: "frames", key: clientId, value: payload }])),
  });
  const payload = crypto.getRandomValues(new Uint8Array(kilobytes * 1024));
  let count = 0;
  const startMs = performance.now();
  const startCpu = process.cpuUsage();
  const untilMs = startMs + secondsEach * 1000;
  await Promise.all(
    Array.from({ length: clients }, async (_, i) => {
      await using connection = openMqtt({ url: broker.url, clientId: `gateway-${i}`, logger, tls: tls?.client });
      await connection.ready();
      const send = async () => {
        while (performance.now() < untilMs) {
          await connection.publish(`smile/v1/plant/gateway-${i}/frames`, payload);
          count++;
        }
      };
      await Promise.all(Array.from({ length: 32 }, send));
    }),
  );
  const perSecond = Math.round((count / (performance.now() - startMs)) * 1000);
  const { user, system } = process.cpuUsage(startCpu);
  figures[`${kilobytes} KB, ${clients} client${clients > 1 ? "s" : ""}`] = { perSecond, cpuMicros: Math.round((user + system) / count) };
}
console.log(JSON.stringify({ tls: withTls, acknowledged: figures, rssMb: Math.round(process.memoryUsage().rss / 2 ** 20) }));

async function certificates() {
  const { tlsPlant, tlsService } = await import("./fixture-tls.ts");
  const service = await tlsService();
  const plant = await tlsPlant("plant", ["gateway"]);
  return {
    broker: { credentials: fixedTls(await service.server()), registry: new FixedRegistry([plant.register]) },
    client: fixedTls({ ...plant.gateways.get("gateway")!, authority: service.authority.certificate }),
  };
}
