import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { deploySegments } from "@smile/model-service/deploy-segments";
import { segmentHead } from "@smile/model-service/training/segments/segment-head";
import type { SegmentDeployment } from "@smile/schemas/record-documents";
import { expect, it } from "vitest";
import { smallDeployment } from "../../../test/support/small-deployment.ts";
import { addGateway } from "../../src/plant/gateways.ts";
import { useService } from "../../src/plant/service-file.ts";
import { useDeployment } from "../../src/plant/use-deployment.ts";
import { type NewPlant, newPlant, serviceDocument } from "./new-plant.ts";

const days = 730;

/** A deployment for records of so many features: the more of them, the fewer lanes. */
function segmentDeployment(features: number, keyMode: "public" | "symmetric" = "public"): SegmentDeployment {
  const columns = Array.from({ length: features }, (_, i) => ({
    kind: "numeric" as const,
    column: `c${i}`,
    mean: 0,
    deviation: 1,
    weight: 1,
  }));
  const centroids = [1, -1].map((sign) => new Array<number>(features).fill(20 * sign));
  const segments = ["a", "b"].map((name) => ({ name, words: "" }));
  const featureSet = { kind: "record-feature-set", version: 1, name: "test", columns, clip: 4, quantise: { bits: 8 } } as const;
  return deploySegments({
    ...{ featureSet, head: segmentHead(centroids, { bits: 8 }), keyMode, modelPrivacy: "compact" },
    card: { name: "test", segments, training: { data: "none", records: 50, metrics: {} }, codeVersion: "test" },
  }).deployment;
}

const lanesOf = (plant: NewPlant, gateway: string) => plant.registered().lanesOf(gateway);
function write(plant: NewPlant, name: string, document: object): string {
  const file = join(plant.outside, name);
  writeFileSync(file, JSON.stringify(document));
  return file;
}

it.each(["public", "symmetric"] as const)(
  "leases a gateway of records a whole ciphertext and writes what its source needs, in %s mode",
  async (keyMode) => {
    const deployment = segmentDeployment(48, keyMode);
    const { lanes } = deployment;
    using plant = await newPlant({ deployment, keyMode });
    for (const gateway of ["hr-1", "hr-2"]) {
      expect(await addGateway(plant.at(0), { gateway, machines: "records", days })).toMatchObject({ lanes });
    }
    expect([lanesOf(plant, "hr-1"), lanesOf(plant, "hr-2")]).toEqual([
      { first: 0, count: lanes },
      { first: lanes, count: lanes },
    ]);
    expect(plant.json("gateways", "hr-1", "segment-source.json")).toMatchObject({
      plant: "north",
      gateway: "hr-1",
      identity: plant.identityHash,
      key: keyMode === "public" ? "public-key.json" : "gateway-key.json",
      service: "service.json",
      mqtt: { url: "mqtts://smile.example.org:8883" },
      tls: { certificate: "certificate.pem", key: "key.pem" },
    });
    const folder = join(plant.folder, "gateways", "hr-1");
    expect(["edge-agent.json", "lease.json"].filter((file) => existsSync(join(folder, file)))).toEqual([]);
    expect(plant.json("console", "leases.json")).toEqual([]);
  },
);

it("takes machines for a deployment of machines, and records for one of records, and neither for the other", async () => {
  using people = await newPlant({ deployment: segmentDeployment(8) });
  using machines = await newPlant();
  const refused = expect.objectContaining({ code: "CONFIG_INVALID" });
  await expect(addGateway(people.at(0), { gateway: "hall-1", machines: ["a"], days })).rejects.toEqual(refused);
  await expect(addGateway(machines.at(0), { gateway: "hr-1", machines: "records", days })).rejects.toEqual(refused);
  using small = await smallDeployment({ scheme: "bgv" });
  const file = write(people, "machines.json", small.deployed.deployment);
  await expect(useDeployment(people.at(0), { file, retainMs: 0 })).rejects.toEqual(refused);
});

it("leases other lanes where another deployment's ciphertexts have other ones, and never anyone else's", async () => {
  using plant = await newPlant({ deployment: segmentDeployment(48) });
  for (const gateway of ["hr-1", "hr-2"]) await addGateway(plant.at(0), { gateway, machines: "records", days });
  const next = segmentDeployment(30);
  await useDeployment(plant.at(1), { file: write(plant, "next.json", next), retainMs: 0 });
  const leased = ["hr-1", "hr-2"].map((gateway) => lanesOf(plant, gateway)!);
  for (const { first, count } of leased) {
    expect(first % next.lanes).toBe(0);
    expect(count).toBeGreaterThanOrEqual(next.lanes);
  }
  const [a, b] = leased.toSorted((x, y) => x.first - y.first);
  expect(a!.first + a!.count).toBeLessThanOrEqual(b!.first);
  expect(plant.json("gateways", "hr-1", "deployment.json")).toEqual(next);
});

it("brings a service's other address to the source's configuration, and leaves the rest of it", async () => {
  using plant = await newPlant({ deployment: segmentDeployment(8) });
  await addGateway(plant.at(0), { gateway: "hr-1", machines: "records", days });
  const configured = plant.json("gateways", "hr-1", "segment-source.json");
  writeFileSync(join(plant.folder, "gateways", "hr-1", "segment-source.json"), JSON.stringify({ ...configured, mapping: "mine.json" }));
  await useService(plant.at(1), write(plant, "service.json", serviceDocument({ framesUrl: "mqtts://other.example.org:8883" })));
  expect(plant.json("gateways", "hr-1", "segment-source.json")).toMatchObject({
    mapping: "mine.json",
    mqtt: { url: "mqtts://other.example.org:8883" },
  });
});
