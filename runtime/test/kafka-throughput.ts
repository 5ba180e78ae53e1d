// Measures the log on a local Kafka: `node runtime/test/kafka-throughput.ts [seconds]`. Values of 27 KB, the size of a frame at N = 2048.
import { startTestKafka } from "../../test/support/kafka-process.ts";
import { openKafkaLog } from "../src/kafka-log.ts";
import { silentLogger } from "../src/logging.ts";

const secondsEach = Number(process.argv[2] ?? 3);
const value = crypto.getRandomValues(new Uint8Array(27 * 1024));
const never = new AbortController().signal;
const figures: Record<string, number> = {};
const since = (startMs: number) => Math.round(performance.now() - startMs);
const perSecond = (count: number, startMs: number) => Math.round((count / (performance.now() - startMs)) * 1000);

const startMs = performance.now();
await using kafka = await startTestKafka();
figures["start ms"] = since(startMs);
await using log = await openKafkaLog({ brokers: kafka.brokers, clientId: "throughput", logger: silentLogger() });

for (const inTens of [false, true]) {
  for (const callers of [1, 32]) {
    const topic = `frames-${inTens}-${callers}`;
    await log.ensureTopics([{ name: topic, partitions: 4 }]);
    const records = Array.from({ length: inTens ? 10 : 1 }, (_, i) => ({ topic, key: `plant-${i}`, value }));
    let count = 0;
    const fromMs = performance.now();
    const call = async () => {
      while (performance.now() < fromMs + secondsEach * 1000) {
        const { length } = await log.append(records);
        count += length;
      }
    };
    await Promise.all(Array.from({ length: callers }, call));
    figures[`append/s ${inTens ? "in tens" : "one by one"}, ${callers} caller${callers > 1 ? "s" : ""}`] = perSecond(count, fromMs);
    if (!inTens || callers === 1) continue;

    const joinMs = performance.now();
    await using member = await log.join("batcher", [topic]);
    figures["join ms"] = since(joinMs);
    const pollMs = performance.now();
    for (let taken = 0; taken < count; ) {
      const found = await member.poll({ maxRecords: 256, maxBytes: 8 << 20, waitMs: 1000 }, never);
      taken += found.length;
      await member.settle(found);
    }
    figures["poll and settle/s"] = perSecond(count, pollMs);

    const readMs = performance.now();
    for (const { partition, earliest, latest } of await log.ends(topic)) {
      for (let offset = earliest; offset < latest; ) {
        const found = await log.read({ topic, partition, offset }, { maxRecords: 256, maxBytes: 8 << 20, waitMs: 1000 }, never);
        offset = found.at(-1)!.offset + 1;
      }
    }
    figures["read/s"] = perSecond(count, readMs);

    const delays: number[] = [];
    for (let i = 0; i < 300; i++) {
      const polling = member.poll({ maxRecords: 1, maxBytes: 1 << 20, waitMs: 5000 }, never);
      const appendMs = performance.now();
      await log.append(records.slice(0, 1));
      await member.settle(await polling);
      delays.push(performance.now() - appendMs);
    }
    delays.sort((a, b) => a - b);
    figures["append to poll p50 ms"] = Math.round(delays[150]! * 10) / 10;
    figures["append to poll p99 ms"] = Math.round(delays[297]! * 10) / 10;
    const cpu = process.cpuUsage();
    await member.poll({ maxRecords: 1, maxBytes: 1, waitMs: 2000 }, never);
    figures["idle CPU %"] = Math.round(process.cpuUsage(cpu).user / 200) / 100;
  }
}
console.log(JSON.stringify(figures));
