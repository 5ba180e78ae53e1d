// A process of its own with the embedded broker in front of a log that takes one record at a time, each in `msPerRecord`. Writes the
// broker's URL, and its counters once a line comes on standard input: `node slow-ingress-child.ts <log path> <msPerRecord>`.
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { LOG_TOPICS } from "@smile/schemas/topics";
import type { Arrival } from "../src/admission-checks.ts";
import { openIntake } from "../src/intake.ts";

const [path = "", msPerRecord = ""] = process.argv.slice(2);
const logger = silentLogger();
await using log = await openEmbeddedLog({ path, logger });
await log.ensureTopics([{ name: LOG_TOPICS.frames, partitions: 4 }]);
let before: Promise<unknown> = Promise.resolve();
const receive = async ({ topic, payload }: Arrival) => {
  const turn = before.then(() => delay(Number(msPerRecord)));
  before = turn;
  await turn;
  await log.append([{ topic: LOG_TOPICS.frames, key: topic.split("/")[3] ?? "", value: payload }]);
};
await using intake = await openIntake({
  endpoint: { host: "127.0.0.1", port: 0 },
  work: ["streams"],
  plants: new FixedRegistry([]),
  receive,
  logger,
  onFailure: (error) => {
    throw error;
  },
});
console.log(JSON.stringify({ url: intake.url }));
for await (const _ of createInterface({ input: process.stdin })) console.log(JSON.stringify({ cutOff: intake.cutOff }));
