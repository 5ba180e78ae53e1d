import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { kafkaHome } from "@smile/kafka-local/kafka-jars";
import { startLocalKafka } from "@smile/kafka-local/local-kafka";
import { prepare } from "./deployment.ts";
import { usageOf } from "./process.ts";
import { Topology } from "./topology.ts";

const [rates = "2000,5000", mode = "symmetric", log = "kafka", prof = "", privacy = "compact", scheme = "bgv"] = process.argv.slice(2);
const folder = mkdtempSync(join(tmpdir(), "smile-bench-"));
const kafka = log === "kafka" ? await startLocalKafka({ home: kafkaHome(process.env), heapMiB: 512 }) : undefined;
try {
  const prepared = await prepare(folder, {
    hopMs: 1000,
    keyMode: mode as "public",
    modelPrivacy: privacy as "compact",
    scheme: scheme as "bgv",
    heads: 1,
    maxMerges: mode === "public" ? 8 : 1,
    gateways: 4,
    machinesPerGateway: 2048,
    partitions: 4,
    ...(kafka && { brokers: [kafka.bootstrap] }),
    threads: 1,
  });
  console.log("lanes", prepared.lanes);
  {
    await using topology = await Topology.start(prepared, prof ? { node: ["--cpu-prof", `--cpu-prof-dir=${prof}`] } : {});
    for (const rate of rates.split(",").map(Number)) {
      topology.offer(rate);
      await delay(4000);
      await topology.stored();
      const before = topology.usage();
      const kb = kafka && usageOf(kafka.pid!);
      const emitted = topology.news.windows;
      const t = performance.now();
      await delay(8000);
      topology.check();
      const after = topology.usage();
      const stored = await topology.stored();
      const s = (performance.now() - t) / 1000;
      const ka = kafka && usageOf(kafka.pid!);
      console.log(
        rate,
        "emitted/s",
        Math.round((topology.news.windows - emitted) / s),
        "stored/s",
        Math.round(stored.risks / s),
        JSON.stringify(stored),
        "waiting",
        topology.news.waiting,
      );
      let total = 0;
      for (const [name, { cpuSeconds, rssMb }] of [...after, ...(ka ? [["kafka", ka] as const] : [])]) {
        const b = name === "kafka" ? kb! : before.get(name)!;
        const cpu = cpuSeconds - b.cpuSeconds;
        total += cpu;
        console.log(
          "   ",
          name.padEnd(18),
          "cpu",
          (cpu / s).toFixed(2),
          "us/window",
          ((cpu * 1e6) / stored.risks).toFixed(1),
          "rss",
          Math.round(rssMb),
        );
      }
      console.log("    total us/window", ((total * 1e6) / stored.risks).toFixed(1));
    }
    topology.offer(0);
  }
} finally {
  await kafka?.[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
}
