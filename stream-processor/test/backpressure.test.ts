import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { framesTopic, LOG_TOPICS } from "@smile/schemas/topics";
import { expect, it } from "vitest";
import { collect } from "../../test/support/collect.ts";
import { temporaryFolder } from "../../test/support/small-deployment.ts";

const logger = silentLogger();
const frameBytes = 43 * 1024;
const clients = 8;
/** What each client would have under way if nobody held it back: 8 * 120 * 43 KB are 330 MB in flight. */
const window = 120;
/** The embedded log takes more than a thousand of these frames per second: see runtime/test/mqtt-throughput.ts. */
const msPerRecord = 10;
const runMs = 3000;
const mostGrowthMb = 300;

/** Resident memory of another process: Linux has it in /proc. */
const residentBytes = (pid: number) => 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);

class Child implements AsyncDisposable {
  readonly process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(args: readonly string[]) {
    this.process = spawn(process.execPath, [join(import.meta.dirname, "slow-ingress-child.ts"), ...args], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    this.#lines = createInterface({ input: this.process.stdout! })[Symbol.asyncIterator]();
  }

  async line(): Promise<Record<string, unknown>> {
    return JSON.parse((await this.#lines.next()).value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exit = once(this.process, "exit");
    this.process.kill("SIGKILL");
    await exit;
  }
}

it.skipIf(process.platform !== "linux")(
  "keeps its memory within bounds while eight gateways push at a log that is ten times too slow, and loses nothing (Linux only)",
  async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, "log.db");
    await using child = new Child([path, String(msPerRecord)]);
    const { url } = await child.line();
    const idleBytes = residentBytes(child.process.pid!);
    let mostBytes = idleBytes;
    const growthMb = () => Math.round((mostBytes - idleBytes) / 2 ** 20);

    await using opened = new AsyncDisposableStack();
    const acknowledged: string[] = [];
    const waitsMs: number[] = [];
    const untilMs = performance.now() + runMs;
    await Promise.all(
      Array.from({ length: clients }, async (_, i) => {
        const gateway = `g${i}`;
        const connection = opened.use(openMqtt({ url: String(url), clientId: gateway, logger }));
        await connection.ready();
        let next = 0;
        const push = async () => {
          while (performance.now() < untilMs) {
            const payload = Buffer.alloc(frameBytes, i);
            const name = `${gateway}/${next++}`;
            payload.write(`${name}\0`);
            const sinceMs = performance.now();
            const answered = await Promise.race([
              connection.publish(framesTopic("p", gateway), payload).then(() => true),
              new Promise<false>((resolve) => setTimeout(() => resolve(false), untilMs - performance.now())),
            ]);
            if (!answered) return;
            acknowledged.push(name);
            waitsMs.push(performance.now() - sinceMs);
            mostBytes = Math.max(mostBytes, residentBytes(child.process.pid!));
          }
        };
        await Promise.all(Array.from({ length: window }, push));
      }),
    );
    mostBytes = Math.max(mostBytes, residentBytes(child.process.pid!));
    child.process.stdin!.write("counters\n");
    // Nobody was made to connect anew.
    expect(await child.line()).toEqual({ cutOff: {} });
    await child[Symbol.asyncDispose]();

    await using log = await openEmbeddedLog({ path, logger });
    const kept = new Set<string>();
    const wanted = new Set(acknowledged);
    await collect(log, LOG_TOPICS.frames, (records) => {
      for (const { value } of records) kept.add(Buffer.from(value.subarray(0, 32)).toString().split("\0")[0]!);
      return wanted.isSubsetOf(kept);
    });
    const perGateway = Map.groupBy(acknowledged, (name) => name.split("/")[0]!);
    expect(growthMb()).toBeLessThan(mostGrowthMb);
    // As fast as the log and no faster; every gateway has its share.
    expect(acknowledged.length).toBeLessThanOrEqual(1.1 * (runMs / msPerRecord));
    expect(perGateway.size).toBe(clients);
    for (const names of perGateway.values()) expect(names.length).toBeGreaterThan(acknowledged.length / clients / 3);
    // In the order of each gateway.
    for (const [gateway, names] of perGateway) expect(names).toEqual(names.map((_, n) => `${gateway}/${n}`));
  },
);
