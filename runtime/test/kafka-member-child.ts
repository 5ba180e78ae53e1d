// A member of a group in a process of its own, for tests to kill and freeze: kafka-member-child.ts <broker> <group> <topic>
// Writes "got <partition> <offset>" per record. Of its standard input, "settle" settles all it got, "leave" leaves the group and ends.
import { createInterface } from "node:readline";
import { openKafkaLog } from "../src/kafka-log.ts";
import type { LogRecord } from "../src/log.ts";
import { silentLogger } from "../src/logging.ts";

const [broker, group, topic] = process.argv.slice(2);
const stop = new AbortController();
const log = await openKafkaLog({ brokers: [broker!], clientId: "child", logger: silentLogger(), sessionTimeoutMs: 6000 });
const member = await log.join(group!, [topic!]);
const got: LogRecord[] = [];
createInterface({ input: process.stdin }).on("line", async (line) => {
  if (line === "settle") await member.settle(got);
  if (line === "leave") stop.abort();
});
console.log("joined");
while (!stop.signal.aborted) {
  for (const record of await member.poll({ maxRecords: 100, maxBytes: 1 << 20, waitMs: 1000 }, stop.signal)) {
    got.push(record);
    console.log(`got ${record.partition} ${record.offset}`);
  }
}
await member[Symbol.asyncDispose]();
await log[Symbol.asyncDispose]();
process.exit();
