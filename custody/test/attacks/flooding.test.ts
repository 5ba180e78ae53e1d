import { isPipelineError } from "@smile/errors/pipeline-error";
import { scorePosition } from "@smile/he/lanes";
import { type Plan, plan } from "@smile/he/planner";
import { decodeReply } from "@smile/he/wire";
import fc from "fast-check";
import { expect, it } from "vitest";
import { planRequest } from "../../../he/test/arbitrary-heads.ts";
import { openLoop } from "../encrypted-loop.ts";
import { noiseOf, openPhaseReader } from "../phase-reader.ts";

it("for the profile `sanitised` every head is planned at N = 4096 with flooding of at least 2^30, or refused", () => {
  const seen = { planned: 0, refused: 0 };
  fc.assert(
    fc.property(planRequest, (request) => {
      let planned: Plan;
      try {
        planned = plan({ ...request, modelPrivacy: "sanitised" });
      } catch (error) {
        if (!isPipelineError(error, "PLAN_REFUSED")) throw error;
        seen.refused += 1;
        return;
      }
      seen.planned += 1;
      expect(planned.params.n).toBe(4096);
      expect(planned.floodBits).toBeGreaterThanOrEqual(30);
      expect(planned.marginBits).toBeGreaterThan(0);
    }),
    { numRuns: 100, seed: 46 },
  );
  expect(seen.planned).toBeGreaterThan(20);
  expect(seen.refused).toBeGreaterThan(5);
});

it("and its replies carry that flooding: what the plant's own key shows of the noise is as wide as planned, on both sides", async () => {
  const F = 16;
  const head = { weights: [Array.from({ length: F }, (_, f) => 1023 - 100 * f)], bias: [5] };
  const planned = plan({ featureCount: F, featureBits: 8, heads: [head], keyMode: "public", maxMerges: 1, modelPrivacy: "sanitised" });
  const { params, lanes: laneTotal, floodBits } = planned;
  using loop = await openLoop(planned);
  using reader = await openPhaseReader(params, loop.keys.secretKey);
  const lanes = Array.from({ length: laneTotal }, (_, lane) => lane);
  const frame = loop.frame(lanes.map((lane) => ({ lane, features: Array.from({ length: F }, (_, f) => ((lane + f) % 255) - 127) })));
  const [reply] = loop.reply(head, [frame], lanes);
  const phases = reader.phases(decodeReply(params, reply!, lanes, F), false);
  const noise = lanes.map((lane) => noiseOf(phases[scorePosition(lane, F)]!, params.t).noise);
  // That none of 256 uniform values lies beyond three quarters on one side has probability (7/8)^256 < 2^-49.
  expect(laneTotal).toBe(256);
  const width = 2 ** floodBits;
  expect(Math.max(...noise)).toBeGreaterThan(0.75 * width);
  expect(Math.min(...noise)).toBeLessThan(-0.75 * width);
  expect(Math.max(...noise.map(Math.abs))).toBeLessThan(1.01 * width);
});
