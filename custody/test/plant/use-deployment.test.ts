import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { paramsId } from "@smile/he/params";
import type { Deployment } from "@smile/schemas/documents";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { expect, it } from "vitest";
import { smallDeployment } from "../../../test/support/small-deployment.ts";
import { addGateway } from "../../src/plant/gateways.ts";
import { activateKeys, rotateKeys } from "../../src/plant/key-rotation.ts";
import { useDeployment } from "../../src/plant/use-deployment.ts";
import { DAY_MS, type NewPlant, newPlant } from "./new-plant.ts";

const days = 730;

function write(plant: NewPlant, deployment: Deployment): string {
  const file = join(plant.outside, "next-deployment.json");
  writeFileSync(file, JSON.stringify(deployment));
  return file;
}
const activeKeys = (plant: NewPlant) =>
  plant.registered().register.keys.flatMap(({ state, paramsId, gateway }) => (state === "active" ? [{ paramsId, gateway }] : []));

it("hands out a deployment of the same parameters with the keys that there are", async () => {
  using plant = await newPlant();
  await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
  const deployment = plant.json<Deployment>("deployment.json");
  const changed = { ...deployment, cards: deployment.cards.map((card) => ({ ...card, name: "second" })) };
  const keys = activeKeys(plant);
  expect(await useDeployment(plant.at(1), { file: write(plant, changed), retainMs: DAY_MS })).toMatchObject({ newKeys: 0 });
  for (const folder of [".", "gateways/hall-1"]) expect(plant.json(folder, "deployment.json")).toEqual(changed);
  expect(activeKeys(plant)).toEqual(keys);
});

it("makes keys for other parameters and another key mode, and lets those of before retire", async () => {
  using plant = await newPlant();
  await addGateway(plant.at(0), { gateway: "hall-1", machines: ["a"], days });
  await addGateway(plant.at(0), { gateway: "hall-2", machines: ["b"], days });
  const before = activeKeys(plant);
  using small = await smallDeployment({ scheme: "bgv", keyMode: "symmetric", headCount: 2 });
  const { deployment } = small.deployed;
  const { newKeys } = await useDeployment(plant.at(1), { file: write(plant, deployment), retainMs: DAY_MS });
  const id = paramsId(paramsFromDocument(deployment.params));
  expect(newKeys).toBe(2);
  expect(activeKeys(plant)).toEqual(expect.arrayContaining(["hall-1", "hall-2"].map((gateway) => ({ paramsId: id, gateway }))));
  expect(activeKeys(plant)).not.toEqual(expect.arrayContaining(before));
  expect(plant.json("gateways", "hall-1", "edge-agent.json")).toMatchObject({ key: "gateway-key.json" });
  expect(plant.json("gateways", "hall-1", "gateway-key.json")).toMatchObject({ gateway: "hall-1", paramsId: id });
});

it("waits until a rotation has been activated", async () => {
  using plant = await newPlant();
  await rotateKeys(plant.at(1));
  const change = { file: join(plant.folder, "deployment.json"), retainMs: 0 };
  await expect(useDeployment(plant.at(1), change)).rejects.toMatchObject({ message: expect.stringContaining("activate-keys") });
  await activateKeys(plant.at(2), { retainMs: 0 });
  expect(await useDeployment(plant.at(2), change)).toMatchObject({ newKeys: 0 });
});
