import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, expect, it } from "vitest";
import { openEmbeddedLog } from "../src/embedded-log.ts";
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

/** Every record of the log, by offset: the name it proves to have, undefined for a torn one. */
async function readAll(path: string): Promise<Map<number, string | undefined>> {
  await using log = await openEmbeddedLog({ path, logger: silentLogger() });
  const [ends] = await log.ends("frames");
  const kept = new Map<number, string | undefined>();
  for (let offset = 0; offset < ends!.latest; ) {
    const limits = { maxRecords: 200, maxBytes: 8 << 20, waitMs: 0 };
    const records = await log.read({ topic: "frames", partition: 0, offset }, limits, never);
    for (const record of records) kept.set(record.offset, proofOf(record.value));
    offset = records.at(-1)!.offset + 1;
  }
  expect([...kept.keys()]).toEqual(Array.from({ length: ends!.latest }, (_, i) => i));
  return kept;
}

const wrongIn = (kept: Map<number, string | undefined>, acknowledged: Map<number, string>) => ({
  torn: [...kept].filter(([, name]) => name === undefined),
  lost: [...acknowledged].filter(([offset, name]) => kept.get(offset) !== name),
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "smile-kill-"));
});
afterEach(() => rm(folder, { recursive: true }));

it("holds every acknowledged record, whole, after SIGKILL in the middle of appends, again and again on one file", async () => {
  const path = join(folder, "log.db");
  const acknowledged = new Map<number, string>();
  // Seeded points of death: the first breath, then anywhere.
  for (const [seed, count] of [1, 7, 40, 111, 173, 260].entries()) {
    for (const [offset, name] of await appendAndKill(path, seed, count)) acknowledged.set(offset, name);
    expect(wrongIn(await readAll(path), acknowledged)).toEqual({ torn: [], lost: [] });
  }
  expect(acknowledged.size).toBeGreaterThanOrEqual(592);
});

it("holds what several processes appended to it at the same time until they were killed", async () => {
  const path = join(folder, "log.db");
  const runs = await Promise.all([40, 90, 140].map((count, seed) => appendAndKill(path, seed, count)));
  const acknowledged = new Map(runs.flatMap((run) => [...run]));
  expect(acknowledged.size).toBe(runs.reduce((sum, run) => sum + run.size, 0));
  expect(wrongIn(await readAll(path), acknowledged)).toEqual({ torn: [], lost: [] });
});
