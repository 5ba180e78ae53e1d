import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, it } from "vitest";
import { openEmbeddedLog } from "../src/embedded-log.ts";
import type { LogRecord } from "../src/log.ts";
import { silentLogger } from "../src/logging.ts";
import { proofOf } from "./self-proving.ts";

const child = join(import.meta.dirname, "append-until-killed.ts");
const never = new AbortController().signal;

/** Lets a child append until it has acknowledged `count` records, kills it with SIGKILL, and returns all that it acknowledged. */
async function appendAndKill(path: string, seed: number, count: number): Promise<Map<number, string>> {
  const acknowledged = new Map<number, string>();
  const running = spawn(process.execPath, [child, path, `${seed}`], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(running, "exit");
  for await (const line of createInterface({ input: running.stdout })) {
    const [offset, name] = line.split(" ");
    acknowledged.set(Number(offset), name!);
    if (acknowledged.size === count) running.kill("SIGKILL");
  }
  const [, signal] = await exited;
  expect(signal).toBe("SIGKILL");
  return acknowledged;
}

it("holds every acknowledged record, whole, after SIGKILL in the middle of appends, again and again on one file", async () => {
  const folder = await mkdtemp(join(tmpdir(), "smile-kill-"));
  try {
    const path = join(folder, "log.db");
    const acknowledged = new Map<number, string>();
    // Seeded points of death: the first breath, then anywhere.
    for (const [seed, count] of [1, 7, 40, 111, 173, 260].entries()) {
      for (const [offset, name] of await appendAndKill(path, seed, count)) acknowledged.set(offset, name);

      await using log = await openEmbeddedLog({ path, logger: silentLogger() });
      const [ends] = await log.ends("frames");
      const kept = new Map<number, string | undefined>();
      for (let offset = 0; offset < ends!.latest; ) {
        const records: readonly LogRecord[] = await log.read(
          { topic: "frames", partition: 0, offset },
          { maxRecords: 200, maxBytes: 8 << 20, waitMs: 0 },
          never,
        );
        for (const record of records) kept.set(record.offset, proofOf(record.value));
        offset = records.at(-1)!.offset + 1;
      }
      expect([...kept.keys()]).toEqual(Array.from({ length: ends!.latest }, (_, i) => i));
      expect([...kept].filter(([, name]) => name === undefined)).toEqual([]);
      expect([...acknowledged].filter(([offset, name]) => kept.get(offset) !== name)).toEqual([]);
    }
    expect(acknowledged.size).toBeGreaterThanOrEqual(592);
  } finally {
    await rm(folder, { recursive: true });
  }
});
