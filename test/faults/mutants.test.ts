import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { temporaryFolder } from "../support/small-deployment.ts";
import { trainModel } from "./model.ts";
import type { Model } from "./plant.ts";
import { runSchedule } from "./run-schedule.ts";
import type { Fault } from "./schedule.ts";

const scratch = temporaryFolder();
afterAll(() => scratch[Symbol.dispose]());
const mutant = (name: string) => fileURLToPath(new URL(`./mutants/${name}.ts`, import.meta.url));

const kill: Fault = { kind: "kill-stream-processor", after: { on: "acknowledged", count: 20 }, steps: 2, alone: true, draw: 0 };
const rotate: Fault = { ...kill, kind: "rotated-keys", steps: 0, alone: false };

/** A plant that suffers some faults. @param entry of a stream processor that is broken on purpose */
function run(model: Model, faults: readonly Fault[], entry?: string) {
  return runSchedule({
    seed: 1,
    model,
    scratch: scratch.path,
    faults,
    disk: "none",
    replicas: 1,
    isLogShared: false,
    openLog: (folder) => openEmbeddedLog({ path: join(folder, "log.db"), logger: silentLogger() }),
    say: () => {},
    // What is lost never comes: the run with a mutant ends by its patience. Where nothing is lost it is never used up.
    ...(entry && { mutant: entry, patienceMs: 10_000 }),
  });
}

describe.concurrent("the fault suite tells a stream processor that promises too much", { timeout: 180_000 }, () => {
  let model: Model;
  beforeAll(async () => {
    model = await trainModel(join(scratch.path, "model"));
  });

  it("finds nothing where the promise is kept", async () => {
    const { verdict, problems } = await run(model, [kill, rotate, kill]);
    expect(problems).toEqual([]);
    expect(verdict).toMatchObject({ lost: 0, duplicated: 0, outOfOrder: 0, unexpected: 0, wrong: 0 });
    expect(verdict.acknowledged).toBeGreaterThan(100);
  });

  it("finds windows lost before the log when frames are acknowledged before they are appended", async () => {
    const { verdict } = await run(model, [kill, kill], mutant("acknowledges-early"));
    expect(verdict.lostBefore.log).toBeGreaterThan(0);
    expect(verdict.lost).toBeGreaterThan(0);
  });

  it("finds windows lost before their score when frames are committed before their batch is durable", async () => {
    const { verdict } = await run(model, [kill, kill], mutant("commits-early"));
    expect(verdict.lostBefore.score).toBeGreaterThan(0);
    expect(verdict.lost).toBeGreaterThan(0);
  });

  it("finds windows lost before the log when keys are rotated and the newer register counts for nothing", async () => {
    const { verdict } = await run(model, [rotate], mutant("keeps-first-register"));
    expect(verdict.lostBefore.log).toBeGreaterThan(0);
    expect(verdict.lostBefore).toMatchObject({ score: 0, risk: 0 });
  });
});
