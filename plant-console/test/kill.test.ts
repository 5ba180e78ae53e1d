import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, it } from "vitest";
import { RiskStore } from "../src/store.ts";
import { startFixtureEgress } from "./fixture-egress.ts";
import { writeFixtureFiles } from "./fixture-files.ts";
import { features, openFixturePlant, PLANT } from "./fixture-plant.ts";

const main = join(import.meta.dirname, "../src/main.ts");
const leases = [{ gateway: "g1", firstLane: 0, machines: ["m0", "m1", "m2"] }];

function run(args: string[]): ChildProcess {
  return spawn(process.execPath, [main, ...args], { stdio: ["ignore", "pipe", "pipe"] });
}
const output = async (child: ChildProcess) => {
  const [out, err] = ["", ""].map(() => [] as string[]);
  child.stdout!.on("data", (chunk) => out!.push(String(chunk)));
  child.stderr!.on("data", (chunk) => err!.push(String(chunk)));
  const [code] = await once(child, "close");
  return { code, out: out!.join(""), err: err!.join("") };
};

it("keeps every risk once when the console is killed in mid-stream, again and again", async () => {
  await using egress = await startFixtureEgress();
  await using plant = await openFixturePlant({ scheme: "identity", keyMode: "public", leases });
  const { config, storePath } = await writeFixtureFiles(plant, egress.url);
  const total = 400;
  const windows = (sequence: number) => ({ m0: features(sequence), m1: features(sequence + 1), m2: features(sequence + 2) });
  const score = (sequence: number) => plant.score(0, [{ gateway: "g1", sequence, frameTimeMs: sequence, windows: windows(sequence) }]);
  const kills = [40, 150, 260];
  let sent = 0;
  for (const kill of kills) {
    const child = run(["--config", config, "--json"]);
    const scores = Array.from({ length: kill + 60 - sent }, (_, i) => score(sent + i));
    sent += scores.length;
    await egress.append(scores);
    await egress.storedUpTo(kill); // the rest is somewhere between the log and the store
    child.kill("SIGKILL");
    await once(child, "close");
    using store = new RiskStore({ path: storePath, plant: PLANT });
    expect(store.counts().risks).toBe(3 * store.cursor.next!); // neither without the other
  }
  const child = run(["--config", config, "--json"]);
  const alerts: { event: string }[] = [];
  createInterface({ input: child.stdout! }).on("line", (line) => alerts.push(JSON.parse(line)));
  await egress.append(Array.from({ length: total - sent }, (_, i) => score(sent + i)));
  await egress.storedUpTo(total);
  child.kill("SIGTERM");
  const [code] = await once(child, "close");
  expect(code).toBe(0);
  expect(alerts.every(({ event }) => event === "raised" || event === "cleared")).toBe(true);

  using store = new RiskStore({ path: storePath, plant: PLANT });
  const { headId } = plant.deployment.cards[0]!;
  ["m0", "m1", "m2"].forEach((machine, i) => {
    const risks = store.risksOf(machine, { headId, limit: 10_000 }).toReversed();
    expect(risks.map(({ sequence }) => sequence)).toEqual(Array.from({ length: total }, (_, sequence) => sequence));
    expect(risks.map((risk) => risk.score)).toEqual(risks.map(({ sequence }) => plant.plainScores(0, features(sequence + i))[0]));
  });
  expect(store.counts().risks).toBe(3 * total);
  expect(store.cursor).toMatchObject({ partition: 0, next: total });
});

it("explains itself, and says which file or key is wrong without showing what it holds", async () => {
  await using plant = await openFixturePlant({ scheme: "identity", keyMode: "public", leases });
  const { config, keystorePath, keystore } = await writeFixtureFiles(plant, "mqtt://127.0.0.1:1");
  const [help, wrongFlag, missing] = await Promise.all([
    output(run(["--help"])),
    output(run(["--nonsense"])),
    output(run(["--config", "/nowhere.json"])),
  ]);
  expect(help).toMatchObject({ code: 0, out: expect.stringContaining("--config") });
  expect(wrongFlag).toMatchObject({ code: 78, err: expect.stringContaining("--nonsense") });
  expect(missing).toMatchObject({ code: 78, err: expect.stringContaining("/nowhere.json") });
  const secret = keystore.keys[0]!.secretKey;
  writeFileSync(keystorePath, JSON.stringify(keystore));
  const unsealed = await output(run(["--config", config]));
  expect(unsealed).toMatchObject({ code: 78, err: expect.stringContaining("is not encrypted") });
  expect(unsealed.err).not.toContain(secret);
});
