import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, it } from "vitest";
import { RiskStore } from "../src/store.ts";
import { startFixtureEgress } from "./fixture-egress.ts";
import { writeFixtureFiles } from "./fixture-files.ts";
import { type FixturePlant, features, openFixturePlant, PLANT } from "./fixture-plant.ts";

const main = join(import.meta.dirname, "../src/main.ts");
const machines = Array.from({ length: 8 }, (_, i) => `m${i}`);
let plant: FixturePlant;
let high: number;
let low: number;
beforeAll(async () => {
  plant = await openFixturePlant({ scheme: "identity", keyMode: "public", leases: [{ gateway: "g1", firstLane: 0, machines }] });
  const seeds = Array.from({ length: 200 }, (_, seed) => seed);
  high = seeds.find((seed) => plant.plainScores(0, features(seed))[0]! > 300)!;
  low = seeds.find((seed) => plant.plainScores(0, features(seed))[0]! < -300)!;
});
afterAll(() => plant[Symbol.asyncDispose]());

/** Scores at each of which all machines raise or clear an alert. */
const alarms = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => {
    const windows = Object.fromEntries(machines.map((machine) => [machine, features((from + i) % 2 ? low : high)]));
    return plant.score(0, [{ gateway: "g1", sequence: from + i, frameTimeMs: from + i, windows }]);
  });

async function stop(child: ChildProcess): Promise<unknown> {
  const closed = once(child, "exit");
  child.kill("SIGTERM");
  return (await closed)[0];
}

it("goes on storing when whoever reads its lines has gone, as after | head -1", async () => {
  await using egress = await startFixtureEgress();
  const { config, storePath } = await writeFixtureFiles(plant, egress.url);
  const child = spawn(process.execPath, [main, "--config", config], { stdio: ["ignore", "pipe", "pipe"] });
  const log: string[] = [];
  child.stderr.on("data", (chunk) => log.push(String(chunk)));
  await egress.append(alarms(0, 1));
  const [line] = await once(createInterface({ input: child.stdout }), "line");
  expect(line).toContain("RAISED");
  child.stdout.destroy();
  await egress.append(alarms(1, 40));
  await egress.storedUpTo(40);
  expect(await stop(child)).toBe(0);
  using store = new RiskStore({ path: storePath, plant: PLANT });
  expect(store.counts()).toMatchObject({ risks: 40 * 8, alerts: 20 * 8 });
  expect(log.join("").match(/nobody reads the printed lines/g)).toHaveLength(1);
});

it("goes on, sends its cursors and stops in time while whoever reads its lines has stalled", async () => {
  await using egress = await startFixtureEgress();
  const { config } = await writeFixtureFiles(plant, egress.url);
  const child = spawn(process.execPath, [main, "--config", config, "--json"], { stdio: ["ignore", "pipe", "ignore"] });
  // Nobody reads some 400 KB of lines; a pipe takes half of that.
  await egress.append(alarms(0, 150));
  await egress.storedUpTo(150);
  expect(await stop(child)).toBe(0);
});
