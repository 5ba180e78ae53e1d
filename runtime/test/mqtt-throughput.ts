// Measures the way of a frame to its acknowledgement, `node runtime/test/mqtt-throughput.ts [seconds]`: mqtt.js -> aedes -> embedded log,
// flushed to the disk -> PUBACK, all in this process over loopback TCP, with windows of 32.
import { openTemporaryLog } from "../src/embedded-log.ts";
import { silentLogger } from "../src/logging.ts";
import { startBroker } from "../src/mqtt-broker.ts";
import { openMqtt } from "../src/mqtt-client.ts";

const secondsEach = Number(process.argv[2] ?? 3);
const logger = silentLogger();
const figures: Record<string, number> = {};

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
    authorizePublish: async ({ clientId, payload }) => void (await log.append([{ topic: "frames", key: clientId, value: payload }])),
  });
  const payload = crypto.getRandomValues(new Uint8Array(kilobytes * 1024));
  let count = 0;
  const startMs = performance.now();
  const untilMs = startMs + secondsEach * 1000;
  await Promise.all(
    Array.from({ length: clients }, async (_, i) => {
      await using connection = openMqtt({ url: broker.url, clientId: `gateway-${i}`, logger });
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
  figures[`${kilobytes} KB, ${clients} client${clients > 1 ? "s" : ""}`] = Math.round((count / (performance.now() - startMs)) * 1000);
}
console.log(JSON.stringify({ "acknowledged/s": figures, rssMb: Math.round(process.memoryUsage().rss / 2 ** 20) }));
