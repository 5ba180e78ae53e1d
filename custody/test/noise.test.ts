import { headPolynomial, packLanes } from "@smile/he/lanes";
import { ERROR_VARIANCE, spectrum, TERNARY_VARIANCE, tailBound } from "@smile/he/noise";
import { type PlanRequest, plan, sanitiserBound } from "@smile/he/planner";
import { finishScore } from "@smile/he/sanitise";
import { type CiphertextResidues, decodeFull, mergeFrames } from "@smile/he/wire";
import { expect, it } from "vitest";
import { type EncryptedLoop, openLoop } from "./encrypted-loop.ts";
import { noiseOf, openPhaseReader, type PhaseReader } from "./phase-reader.ts";

/**
 * The model of the noise that the planner's bound rests on, checked against the noise that SEAL really makes. Tolerances are at
 * least five deviations of the estimate, since keys and errors come from the operating system's generator, not from a seed.
 */
const F = 64;
const MERGES = 4;
const weights = Array.from({ length: F }, (_, f) => Math.round(1023 * Math.sin(1 + f * f)));
const norm2 = weights.reduce((sum, w) => sum + w * w, 0);
const request: PlanRequest = {
  featureCount: F,
  featureBits: 8,
  heads: [{ weights: [weights], bias: [0] }],
  keyMode: "public",
  maxMerges: MERGES,
  modelPrivacy: "compact",
};
const planned = plan(request);
const { params, lanes, floodBits } = planned;
/** Variance of a public-key encryption's noise, in units of the error. */
const freshVariance = ERROR_VARIANCE * (1 + 2 * params.n * TERNARY_VARIANCE);
const varianceOf = (values: readonly number[]) => values.reduce((sum, x) => sum + x * x, 0) / values.length;
const largestOf = (values: readonly number[]) => values.reduce((largest, x) => Math.max(largest, Math.abs(x)), 0);
const allLanes = Array.from({ length: lanes }, (_, lane) => lane);
/** Features at their bound, every other one negative. */
const features = (lane: number) => Int32Array.from({ length: F }, (_, f) => ((f + lane) % 2 === 0 ? 127 : -127));
const fullPolynomial = packLanes(
  allLanes.map((lane) => ({ lane, features: features(lane) })),
  params.n,
  F,
);

async function openReader(loop: EncryptedLoop): Promise<PhaseReader> {
  return openPhaseReader(params, loop.keys.secretKey);
}

function noises(reader: PhaseReader, ciphertext: CiphertextResidues, ntt: boolean): number[] {
  return Array.from(reader.phases(ciphertext, ntt), (phase) => noiseOf(phase, params.t).noise);
}

it("SEAL's errors are the centred binomial ones: variance 42/4, at most 21, no offset for negative messages", async () => {
  const symmetric = plan({ ...request, keyMode: "symmetric" });
  using loop = await openLoop(symmetric);
  using reader = await openPhaseReader(symmetric.params, loop.keys.secretKey);
  using identity = loop.evaluator.prepare(headPolynomial([1], symmetric.params.n));
  const found: number[] = [];
  let behindNegatives = 0;
  for (let i = 0; i < 80; i++) {
    const [fresh] = loop.evaluator.multiply(loop.encryptor.encrypt(fullPolynomial), "seeded", [identity]);
    reader.phases(fresh!, false).forEach((phase, k) => {
      const { message, noise } = noiseOf(phase, symmetric.params.t);
      if (message !== fullPolynomial[k]) throw new Error(`coefficient ${k} is not the message`);
      found.push(noise);
      if (message < 0) behindNegatives += noise;
    });
  }
  expect(Math.abs(varianceOf(found) / ERROR_VARIANCE - 1)).toBeLessThan(0.018);
  expect(largestOf(found)).toBeLessThanOrEqual(21);
  expect(Math.abs(behindNegatives / (found.length / 2))).toBeLessThan(0.06);
});

it("a public-key encryption's noise has the deviation sqrt(10.5 (4N/3 + 1)), before and after merging", async () => {
  using loop = await openLoop(planned);
  using reader = await openReader(loop);
  const fresh: number[] = [];
  const merged: number[] = [];
  for (let i = 0; i < 20; i++) {
    const frames = Array.from({ length: MERGES }, (_, k) => loop.frame([{ lane: k, features: features(k) }]));
    fresh.push(...noises(reader, decodeFull(params, frames[0]!), true));
    merged.push(...noises(reader, decodeFull(params, mergeFrames(params, frames)), true));
  }
  for (const ratio of [varianceOf(fresh) / freshVariance, varianceOf(merged) / (MERGES * freshVariance)]) {
    expect(ratio).toBeGreaterThan(0.85);
    expect(ratio).toBeLessThan(1.15);
  }
  expect(largestOf(fresh)).toBeLessThan(sanitiserBound(params.n));
});

it("a product's noise has the deviation of its encryptions times the norm of the head, over several keys", async () => {
  const ratios: number[] = [];
  const bound = tailBound({ norm2, spectrum: spectrum(weights, params.n) }, MERGES);
  for (let key = 0; key < 6; key++) {
    using loop = await openLoop(planned);
    using reader = await openReader(loop);
    using head = loop.evaluator.prepare(headPolynomial(weights, params.n));
    for (let i = 0; i < 6; i++) {
      const batch = mergeFrames(
        params,
        Array.from({ length: MERGES }, (_, k) => loop.frame([{ lane: k * 7, features: features(k) }])),
      );
      const [product] = loop.evaluator.multiply(batch, "full", [head]);
      const found = noises(reader, product!, false);
      expect(largestOf(found)).toBeLessThan(bound);
      ratios.push(varianceOf(found) / (MERGES * freshVariance * norm2));
    }
  }
  const mean = ratios.reduce((a, b) => a + b, 0) / ratios.length;
  expect(Math.sqrt(mean)).toBeGreaterThan(0.9);
  expect(Math.sqrt(mean)).toBeLessThan(1.1);
});

it("a symmetric product's noise has the deviation sqrt(10.5) times the norm of the head", async () => {
  const symmetric = plan({ ...request, keyMode: "symmetric" });
  using loop = await openLoop(symmetric);
  using reader = await openPhaseReader(symmetric.params, loop.keys.secretKey);
  using head = loop.evaluator.prepare(headPolynomial(weights, symmetric.params.n));
  const found: number[] = [];
  for (let i = 0; i < 20; i++) {
    const [product] = loop.evaluator.multiply(loop.encryptor.encrypt(fullPolynomial), "seeded", [head]);
    found.push(...Array.from(reader.phases(product!, false), (phase) => noiseOf(phase, symmetric.params.t).noise));
  }
  expect(Math.sqrt(varianceOf(found) / (ERROR_VARIANCE * norm2))).toBeGreaterThan(0.93);
  expect(Math.sqrt(varianceOf(found) / (ERROR_VARIANCE * norm2))).toBeLessThan(1.07);
  expect(largestOf(found)).toBeLessThan(tailBound({ norm2, spectrum: new Float64Array(0) }, 1));
});

it("flooding is uniform over the whole of its range, fresh in every reply, and stays within it", async () => {
  using loop = await openLoop(planned);
  using reader = await openReader(loop);
  const largest = 2 ** floodBits;
  const flood: number[] = [];
  for (let i = 0; i < 30; i++) {
    // Nothing but a sanitiser and its flooding: what is found is at most a sanitiser's own noise away from the flooding.
    const product = loop.zeros.next();
    finishScore(product, {
      bias: -5,
      lanes: allLanes,
      featureCount: F,
      floodBits,
      q: params.q,
      t: params.t,
    });
    const phases = reader.phases(product, false);
    for (const lane of allLanes) {
      const { message, noise } = noiseOf(phases[lane * F + F - 1]!, params.t);
      expect(message).toBe(-5);
      flood.push(noise);
    }
  }
  expect(largestOf(flood)).toBeLessThanOrEqual(largest + sanitiserBound(params.n));
  expect(largestOf(flood)).toBeGreaterThan(0.95 * largest);
  const mean = flood.reduce((a, b) => a + b, 0) / flood.length;
  expect(Math.abs(mean) / largest).toBeLessThan(0.1);
  // A uniform distribution on [-b, b] has the variance b^2 / 3.
  expect(varianceOf(flood) / (largest ** 2 / 3)).toBeGreaterThan(0.85);
  expect(varianceOf(flood) / (largest ** 2 / 3)).toBeLessThan(1.15);
  expect(new Set(flood).size).toBeGreaterThan(flood.length - 3);
});
