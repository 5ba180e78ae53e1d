// Measures the embedded log: `node runtime/test/log-throughput.ts [seconds]`. Values of 27 KB, the size of a frame at N = 2048.
import { openTemporaryLog } from "../src/embedded-log.ts";
import { silentLogger } from "../src/logging.ts";

const secondsEach = Number(process.argv[2] ?? 3);
const value = crypto.getRandomValues(new Uint8Array(27 * 1024));
const never = new AbortController().signal;
const figures: Record<string, number> = {};

for (const inTens of [false, true]) {
  for (const callers of [1, 32]) {
    await using log = await openTemporaryLog({ logger: silentLogger() });
    await log.ensureTopics([{ name: "frames", partitions: 4 }]);
    const records = Array.from({ length: inTens ? 10 : 1 }, (_, i) => ({ topic: "frames", key: `plant-${i}`, value }));
    let count = 0;
    const startMs = performance.now();
    const untilMs = startMs + secondsEach * 1000;
    const call = async () => {
      while (performance.now() < untilMs) {
        const { length } = await log.append(records);
        count += length;
      }
    };
    await Promise.all(Array.from({ length: callers }, call));
    const name = `${inTens ? "in tens" : "one by one"}, ${callers} caller${callers > 1 ? "s" : ""}`;
    figures[`append/s ${name}`] = Math.round((count / (performance.now() - startMs)) * 1000);
    if (inTens && callers > 1) {
      await using member = await log.join("batcher", ["frames"]);
      let taken = 0;
      const pollMs = performance.now();
      while (taken < count) {
        const found = await member.poll({ maxRecords: 256, maxBytes: 4 << 20, waitMs: 0 }, never);
        taken += found.length;
        await member.settle(found);
      }
      figures["poll and settle/s"] = Math.round((taken / (performance.now() - pollMs)) * 1000);
    }
  }
}
console.log(JSON.stringify(figures));
