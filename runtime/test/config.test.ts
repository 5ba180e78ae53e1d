import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { afterAll, beforeAll, expect, it } from "vitest";
import { z } from "zod";
import { loadConfig } from "../src/config.ts";

const schema = z.strictObject({
  plant: z.string().default("plant-1"),
  batch: z.strictObject({ lanes: z.number().int().min(1).default(64), verbose: z.boolean().default(false) }).prefault({}),
  kafka: z.strictObject({ brokers: z.array(z.string()).default([]) }).prefault({}),
  password: z.string().min(8).optional(),
});
const envNames = {
  plant: "SMILE_PLANT",
  "batch.lanes": "BATCH_LANES",
  "batch.verbose": "BATCH_VERBOSE",
  "kafka.brokers": "KAFKA_BROKERS",
  password: "SMILE_PASSWORD",
};
const load = (env: Record<string, string>, file?: string | object) => loadConfig({ schema, env, envNames, file });
const errorOf = (run: () => unknown): unknown => {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("expected an error");
};

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "smile-config-"));
});
afterAll(() => rmSync(folder, { recursive: true }));
const fileOf = (text: string) => {
  const path = join(folder, "service.json");
  writeFileSync(path, text);
  return path;
};

it("takes defaults, then the file, then the environment", () => {
  expect(load({})).toEqual({ plant: "plant-1", batch: { lanes: 64, verbose: false }, kafka: { brokers: [] } });
  const file = fileOf('{ "plant": "north", "batch": { "lanes": 8, "verbose": true } }');
  expect(load({}, file)).toMatchObject({ plant: "north", batch: { lanes: 8, verbose: true } });
  expect(load({ BATCH_LANES: "16" }, file)).toMatchObject({ plant: "north", batch: { lanes: 16, verbose: true } });
});

it("reads a variable as what its key takes: text, number, truth, list", () => {
  expect(load({ SMILE_PLANT: "42", BATCH_LANES: "2", BATCH_VERBOSE: "false", KAFKA_BROKERS: "a:1, b:2" })).toEqual({
    plant: "42",
    batch: { lanes: 2, verbose: false },
    kafka: { brokers: ["a:1", "b:2"] },
  });
  expect(load({ KAFKA_BROKERS: '["a:1"]', SMILE_PLANT: "" })).toMatchObject({ plant: "plant-1", kafka: { brokers: ["a:1"] } });
});

it("leaves the object it was given as it was", () => {
  const file = { batch: { lanes: 3 } };
  load({ BATCH_LANES: "4" }, file);
  expect(file).toEqual({ batch: { lanes: 3 } });
});

it("names every wrong key and the variable that sets it", () => {
  const error = errorOf(() => load({ BATCH_LANES: "none" }, { plant: 7, batch: { lane: 4 }, colour: 1 }));
  expect(isPipelineError(error, "CONFIG_INVALID")).toBe(true);
  const { message } = error as Error;
  expect(message).toContain("batch.lanes (env BATCH_LANES): ");
  expect(message).toContain("plant (env SMILE_PLANT): ");
  expect(message).toContain("batch.lane: unknown key");
  expect(message).toContain("colour: unknown key");
});

it("names a missing, damaged or shapeless file", () => {
  const missing = errorOf(() => load({}, join(folder, "absent.json")));
  expect(isPipelineError(missing, "FILE_MISSING") && missing.message).toContain("absent.json");
  for (const text of ['{ "plant": ', "[]", "7", ""]) {
    const path = fileOf(text);
    const damaged = errorOf(() => load({}, path));
    expect(isPipelineError(damaged, "FILE_DAMAGED") && damaged.message, text).toContain(path);
  }
});

it("never repeats a value in an error", () => {
  expect(String(errorOf(() => load({ SMILE_PASSWORD: "hunter2" })))).not.toContain("hunter2");
  const path = fileOf('{ "password": "hunter2" oops }');
  const error = errorOf(() => load({}, path)) as Error;
  expect(error.message).not.toContain("hunter2");
  expect(error.cause).toBeUndefined();
});
