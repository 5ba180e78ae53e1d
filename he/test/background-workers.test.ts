import { readdirSync, readFileSync } from "node:fs";
import { getPriority } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { ScoringPool } from "../src/scoring-pool.ts";

/** Niceness of each thread of this process: field 19 of proc(5)'s stat, the 17th behind the name in brackets. */
function niceness(): number[] {
  return readdirSync("/proc/self/task").map((task) => {
    const text = readFileSync(`/proc/self/task/${task}/stat`, "utf8");
    return Number(text.slice(text.lastIndexOf(")") + 2).split(" ")[16]);
  });
}

it.runIf(process.platform === "linux")("background workers run at a lower priority, and nobody else does", async () => {
  const own = getPriority();
  const before = niceness().filter((nice) => nice === 10).length;
  await using _normal = new ScoringPool({ threads: 1 });
  await using _background = new ScoringPool({ threads: 2, background: true });
  while (niceness().filter((nice) => nice === 10).length < before + 2) await delay(5);
  expect(niceness().filter((nice) => nice === 10)).toHaveLength(before + 2);
  expect(getPriority()).toBe(own);
});
