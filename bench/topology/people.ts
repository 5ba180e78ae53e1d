import { copyFileSync, createWriteStream, mkdirSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { workforceCsv } from "@smile/simulators/workforce/workforce-csv";
import { workforceMapping } from "@smile/simulators/workforce/workforce-mapping";
import { type Prepared, readJson, smile, writeJson } from "./deployment.ts";

export const SEGMENTS = 6;

export type People = {
  readonly data: string;
  /** Configurations of the source of records and of the HR console. */
  readonly source: string;
  readonly console: string;
};

/**
 * Adds an organisation with a simulated workforce to a prepared service, by the product's own commands: model, plant, source, console.
 * @param prepared whose services do not run yet
 */
export async function addPeople({ folder, env, configs }: Prepared, { records, seed }: { records: number; seed: number }): Promise<People> {
  const data = join(folder, "people.csv");
  await pipeline(Readable.from(workforceCsv({ seed, employees: records })), createWriteStream(data));
  writeJson(join(folder, "mapping.json"), workforceMapping);
  const training = ["--data", data, "--features", "mapping.json", "--segments", String(SEGMENTS)];
  smile(folder, env, ["segment", "train", ...training, "--out", "people-model"]);
  const plant = ["--deployment", "people-model/deployment.json", "--service", "service/service.json"];
  smile(folder, env, ["plant", "init", "--plant", "people", ...plant, "--out", "people"]);
  smile(folder, env, ["plant", "add-gateway", "records", "--records", "--plant-folder", "people"]);
  copyFileSync(join(folder, "mapping.json"), join(folder, "people/gateways/records/mapping.json"));
  copyFileSync(join(folder, "people/register.json"), join(folder, "service/people-register.json"));
  mkdirSync(join(folder, "people/gateways/records/people"), { recursive: true, mode: 0o700 });
  const console = join(folder, "people/console/segment-console.json");
  const { identity } = readJson(console) as { identity: string };

  type Config = { plants: object[]; deployments: unknown[] };
  const serves = readJson(join(folder, "people-model/model-service.json")) as { heads: string[] };
  const deployment = "../people-model/deployment.json";
  const deployments = {
    "stream-processor": deployment,
    "model-service": { deployment, heads: serves.heads.map((head) => `../people-model/${head}`) },
  };
  for (const name of ["stream-processor", "model-service"] as const) {
    const config = readJson(configs[name]) as Config;
    config.plants.push({ register: "people-register.json", identity });
    config.deployments.push(deployments[name]);
    writeJson(configs[name], config);
  }
  return { data, source: join(folder, "people/gateways/records/segment-source.json"), console };
}
