import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readAudit } from "@smile/runtime/audit-log";
import { silentLogger } from "@smile/runtime/logging";
import { documentId } from "@smile/schemas/documents";
import { publicHalf } from "@smile/schemas/ed25519";
import type { Score } from "@smile/schemas/envelopes";
import type { SegmentDeployment } from "@smile/schemas/record-documents";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startSmile } from "../../../test/support/smile-process.ts";
import { loadSegmentConsoleConfig } from "../../src/segments/config.ts";
import { startConfiguredSegmentConsole } from "../../src/segments/configured-segment-console.ts";
import { JobStore } from "../../src/segments/job-store.ts";
import { startFixtureEgress } from "../fixture-egress.ts";
import { type FixtureFiles, PASSPHRASE, serviceDocument, writeFixtureFiles } from "../fixture-files.ts";
import { type FixturePlant, features, openFixturePlant, PLANT } from "../fixture-plant.ts";
import { segmentDeployment } from "./fixture-deployment.ts";

const DAY_MS = 86_400_000;
const FRAMES = 24;
let plant: FixturePlant;
let deployment: SegmentDeployment;
beforeAll(async () => {
  plant = await openFixturePlant({ scheme: "bgv", keyMode: "public", leases: [{ gateway: "hr", firstLane: 0, machines: ["r0", "r1"] }] });
  deployment = segmentDeployment(plant.deployment);
});
afterAll(() => plant[Symbol.asyncDispose]());

/** The score of a job's frame of two records. */
const score = (sequence: number, jobId = "survey") => {
  const gateway = (plain: Score): Score => ({
    ...plain,
    featureSetId: documentId(deployment.featureSet),
    parts: plain.parts.map((part) => ({ ...part, jobId, frameCount: FRAMES })),
  });
  const windows = { r0: features(sequence), r1: features(sequence + 5) };
  return plant.score(1, [{ gateway: "hr", sequence, frameTimeMs: 1, windows }], { gateway });
};

async function filesFor(url: string): Promise<FixtureFiles> {
  const files = await writeFixtureFiles(plant, url);
  files.write("deployment.json", deployment);
  const { leases: _, ...config } = JSON.parse(readFileSync(files.config, "utf8"));
  writeFileSync(files.config, JSON.stringify({ ...config, store: "jobs.db", people: "people" }));
  return files;
}
const start = async (files: Pick<FixtureFiles, "config">, options: { now?: () => number } = {}) =>
  startConfiguredSegmentConsole(loadSegmentConsoleConfig(files.config, {}), { ...options, logger: silentLogger(), env: {}, pollMs: 10 });
const name = () => ({ jobId: "survey", headId: deployment.cards[0]!.headId });
const all = Array.from({ length: FRAMES }, (_, sequence) => score.bind(null, sequence));

it("stores every record of a job once, waits for a signer that it learns of later, and goes on after a restart where it was", async () => {
  await using egress = await startFixtureEgress({}, "jobs");
  const files = await filesFor(egress.url);
  files.write("service.json", serviceDocument([publicHalf(plant.registration.signingKeys.get("hr")!)])); // not the score signer yet
  {
    await using opened = await start(files);
    files.write("service.json", serviceDocument([publicHalf(plant.scoreSigner)]));
    await egress.append(all.slice(0, 10).map((make) => make()));
    await egress.storedUpTo(10);
    expect(opened.counters()).toMatchObject({ records: 20, duplicates: 0, contradictions: 0, refused: {} });
  }
  await egress.append(all.slice(10).map((make) => make()));
  await using again = await start(files);
  await egress.storedUpTo(FRAMES);
  // Nothing that was stored came once more: the cursor had been kept with it.
  expect(again.counters()).toMatchObject({ records: 2 * (FRAMES - 10), duplicates: 0 });
  expect(again.jobs.isComplete(name())).toBe(true);
  expect(again.jobs.state(name())).toMatchObject({ records: 2 * FRAMES, duplicated: 0, contradictions: 0 });
});

it("ends retentions when it starts, and drops what still comes of a deleted job", async () => {
  await using egress = await startFixtureEgress({}, "jobs");
  const files = await filesFor(egress.url);
  {
    await using _opened = await start(files);
    await egress.append([score(0)]);
    await egress.storedUpTo(1);
  }
  await using opened = await start(files, { now: () => Date.now() + 91 * DAY_MS });
  expect(opened.jobs.isDeleted("survey")).toBe(true);
  await egress.append([score(1), score(0, "another")]);
  await egress.storedUpTo(3);
  expect(opened.counters()).toMatchObject({ deletedScores: 1, records: 2 });
  const ended = [...readAudit(files.auditPath)].filter(({ action }) => action === "retention-ended");
  expect(ended.map(({ facts }) => facts)).toEqual([{ what: "job", jobId: "survey", retentionDays: 90 }]);
});

it("refuses a score that tells another story of its job without losing those around it", async () => {
  await using egress = await startFixtureEgress({}, "jobs");
  const files = await filesFor(egress.url);
  await using opened = await start(files);
  const lying = plant.score(1, [{ gateway: "hr", epoch: 9, sequence: 1, frameTimeMs: 1, windows: { r0: features(1) } }], {
    gateway: (plain) => ({
      ...plain,
      featureSetId: documentId(deployment.featureSet),
      parts: plain.parts.map((part) => ({ ...part, jobId: "survey", frameCount: FRAMES })),
    }),
  });
  await egress.append([score(0), lying, score(1)]);
  await egress.storedUpTo(3);
  expect(opened.counters()).toMatchObject({ records: 4, refused: { SCORE_MISMATCH: 1 } });
});

it("loses nothing and stores nothing twice when it is killed in mid-job, again and again", async () => {
  await using egress = await startFixtureEgress({}, "jobs");
  const files = await filesFor(egress.url);
  const options = { env: { SMILE_PASSPHRASE: PASSPHRASE } };
  for (let sequence = 0; sequence < FRAMES; sequence += 8) {
    await using console = startSmile(["segment", "console", "--config", files.config], options);
    const ended = console.ended.then((how) => {
      throw new Error(`ended early: ${how.stderr}`);
    });
    await egress.append(all.slice(sequence, sequence + 8).map((make) => make()));
    await Promise.race([egress.storedUpTo(sequence + 4), ended]);
    ended.catch(() => {});
    await console.stop("SIGKILL");
  }
  await using opened = await start(files);
  await egress.storedUpTo(FRAMES);
  expect(opened.jobs.state(name())).toMatchObject({ frames: FRAMES, records: 2 * FRAMES, duplicated: 0, contradictions: 0 });
});

it("does not start for a deployment of machines, with profiles of another model, or without an audit log", async () => {
  const files = await filesFor("mqtt://127.0.0.1:1");
  const code = async (change: object) => {
    const config = { ...JSON.parse(readFileSync(files.config, "utf8")), ...change };
    writeFileSync(join(files.folder, "changed.json"), JSON.stringify(config));
    return await start({ ...files, config: join(files.folder, "changed.json") }).then(
      () => "started",
      (error: { code: string }) => error.code,
    );
  };
  files.write("machines.json", plant.deployment);
  expect(await code({ deployment: "machines.json" })).toBe("DOCUMENT_INVALID");
  const segments = [0, 1].map((k) => ({ name: `${k}`, words: "", centroid: [k] }));
  const ids = { headId: "0".repeat(64), featureSetId: documentId(deployment.featureSet) };
  files.write("profiles.json", { kind: "segment-profiles", version: 1, ...ids, featureNames: ["tenure"], segments });
  expect(await code({ profiles: "profiles.json" })).toBe("DOCUMENT_INVALID");
  expect(await code({ audit: undefined })).toBe("CONFIG_INVALID");
  expect(await code({ minimum: 3 })).toBe("CONFIG_INVALID");
  using store = new JobStore({ path: join(files.folder, "jobs.db"), plant: PLANT });
  expect(store.list()).toEqual([]);
});
