import { PipelineError } from "@smile/errors/pipeline-error";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { expect, it } from "vitest";
import { fixturePlant } from "../../schemas/test/fixture-register.ts";
import { Refusals } from "../src/refusals.ts";

const logger = silentLogger();
const error = new PipelineError("FRAME_MALFORMED", "nonsense");
const arrival = (plant: string) => ({ topic: `smile/v1/${plant}/g/frames`, payload: Buffer.alloc(2000, 1), peer: null });

it("keeps dead letters of a plant within its budget, and of all strangers together within a small one; the rest is counted", async () => {
  await using log = await openTemporaryLog({ logger });
  await log.ensureTopics([{ name: LOG_TOPICS.deadLetters, partitions: 1 }]);
  const refusals = new Refusals(log, new FixedRegistry([fixturePlant({ plant: "north", gateways: [] }).register]), logger);
  const letters = async () => (await log.ends(LOG_TOPICS.deadLetters))[0]!.latest;

  await Promise.all(Array.from({ length: 700 }, () => refusals.refuse(arrival("north"), error)));
  const ofNorth = await letters();
  expect(ofNorth).toBeGreaterThanOrEqual(600);
  expect(ofNorth).toBeLessThan(610); // the budget fills again while this test runs
  await Promise.all(Array.from({ length: 300 }, (_, i) => refusals.refuse(arrival(`made-up-${i}`), error)));
  expect((await letters()) - ofNorth).toBeLessThan(70);
  expect(refusals.suppressed).toBe(1000 - (await letters()));
  expect(refusals.counts).toEqual({ FRAME_MALFORMED: 1000 });
});

it("writes one line a second for refusals with the same code, however many there are", async () => {
  await using log = await openTemporaryLog({ logger });
  await log.ensureTopics([{ name: LOG_TOPICS.deadLetters, partitions: 1 }]);
  const lines: unknown[] = [];
  const watched = Object.assign(silentLogger(), { warn: (facts: unknown) => lines.push(facts) });
  const refusals = new Refusals(log, new FixedRegistry([]), watched);
  const sinceMs = Date.now();
  for (let i = 0; i < 200; i++) await refusals.refuse(arrival("x"), error);
  await refusals.refuse(arrival("x"), new PipelineError("SIGNATURE_INVALID", "forged"));
  const seconds = Math.ceil((Date.now() - sinceMs) / 1000);
  expect(lines.length).toBeLessThanOrEqual(1 + seconds + 1);
  expect(lines).toContainEqual(expect.objectContaining({ code: "SIGNATURE_INVALID", plant: "x", gateway: "g", total: 1 }));
});
