// Run as a child process by embedded-log-kill.test.ts: appends without end, and prints each offset once it was acknowledged.

import { openEmbeddedLog } from "../src/embedded-log.ts";
import { silentLogger } from "../src/logging.ts";
import { selfProving } from "./self-proving.ts";

const [path = "", seed = "0"] = process.argv.slice(2);
await using log = await openEmbeddedLog({ path, logger: silentLogger() });
await log.ensureTopics([{ name: "frames", partitions: 1 }]);

async function appendForever(lane: number): Promise<void> {
  for (let i = 0; ; i++) {
    const records = Array.from({ length: 1 + (i % 3) }, (_, n) => ({
      topic: "frames",
      key: "plant",
      value: selfProving(`${seed}/${lane}/${i}/${n}`),
    }));
    const positions = await log.append(records);
    process.stdout.write(positions.map(({ offset }, n) => `${offset} ${seed}/${lane}/${i}/${n}\n`).join(""));
  }
}
await Promise.all([0, 1, 2, 3].map(appendForever));
