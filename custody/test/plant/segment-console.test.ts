import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deploySegments } from "@smile/model-service/deploy-segments";
import { segmentHead } from "@smile/model-service/training/segments/segment-head";
import type { SegmentProfiles } from "@smile/schemas/record-documents";
import { expect, it } from "vitest";
import { initPlant } from "../../src/plant/init-plant.ts";
import { useDeployment } from "../../src/plant/use-deployment.ts";
import { START_MS } from "./new-plant.ts";

const numeric = { kind: "numeric", column: "tenure", mean: 0, deviation: 1, weight: 1 } as const;
const featureSet = { kind: "record-feature-set", version: 1, name: "t", columns: [numeric], clip: 4, quantise: { bits: 8 } } as const;

/** A model's folder, as `smile segment train` writes it. */
function model(centre: number, withProfiles = true) {
  const segments = ["a", "b"].map((name) => ({ name, words: "" }));
  const { deployment } = deploySegments({
    ...{ featureSet, head: segmentHead([[centre], [-centre]], { bits: 8 }), keyMode: "public", modelPrivacy: "compact" },
    card: { name: "test", segments, training: { data: "none", records: 50, metrics: {} }, codeVersion: "test" },
  });
  const { headId, featureSetId } = deployment.cards[0]!;
  const centroids = segments.map((segment, k) => ({ ...segment, centroid: [k] }));
  const ids = { kind: "segment-profiles", version: 1, headId, featureSetId } as const;
  const profiles: SegmentProfiles = { ...ids, featureNames: ["tenure"], segments: centroids };
  const folder = mkdtempSync(join(tmpdir(), "smile-model-"));
  writeFileSync(join(folder, "deployment.json"), JSON.stringify(deployment));
  if (withProfiles) writeFileSync(join(folder, "profiles.json"), JSON.stringify(profiles));
  return { folder, file: join(folder, "deployment.json"), profiles };
}

it("a plant of records gets a console for jobs, with the profiles beside its model, that nobody may ask or release at yet", async () => {
  const outside = mkdtempSync(join(tmpdir(), "smile-plant-"));
  const folder = join(outside, "hr");
  const access = { folder, passphrase: "nine winter geese", env: {}, nowMs: START_MS, cost: 2 ** 10 };
  const [first, second, bare] = [model(20), model(30), model(25, false)];
  await initPlant(access, { plant: "hr", deployment: first.file, tls: true, days: 30 });
  const at = (name: string) => join(folder, "console", name);
  const read = (name: string) => JSON.parse(readFileSync(at(name), "utf8"));
  expect(existsSync(at("plant-console.json"))).toBe(false);
  expect(read("segment-console.json")).toMatchObject({
    ...{ plant: "hr", store: "segment-console.db", people: "../gateways/records/people", audit: "../audit.db" },
    ...{ profiles: "profiles.json", analysts: [], releasers: [] },
  });
  expect(read("profiles.json")).toEqual(first.profiles);
  expect(statSync(at("profiles.json")).mode & 0o777).toBe(0o600);

  await useDeployment(access, { file: second.file, retainMs: 0 });
  expect(read("profiles.json")).toEqual(second.profiles);
  await useDeployment(access, { file: bare.file, retainMs: 0 });
  expect([existsSync(at("profiles.json")), "profiles" in read("segment-console.json")]).toEqual([false, false]);
  for (const each of [outside, first.folder, second.folder, bare.folder]) rmSync(each, { recursive: true });
});

it("is not made with profiles of another model", async () => {
  const outside = mkdtempSync(join(tmpdir(), "smile-plant-"));
  const [first, second] = [model(20), model(30)];
  writeFileSync(join(first.folder, "profiles.json"), JSON.stringify(second.profiles));
  mkdirSync(join(outside, "hr"));
  const access = { folder: join(outside, "hr"), passphrase: "nine winter geese", env: {}, nowMs: START_MS, cost: 2 ** 10 };
  await expect(initPlant(access, { plant: "hr", deployment: first.file, tls: true, days: 30 })).rejects.toMatchObject({
    code: "DOCUMENT_INVALID",
    message: expect.stringContaining("profiles.json"),
  });
  for (const each of [outside, first.folder, second.folder]) rmSync(each, { recursive: true });
});
