import { plan } from "@smile/he/planner";
import { DeploymentDocument } from "@smile/schemas/documents";
import { describe, expect, it } from "vitest";
import { type Candidate, type DeployRequest, deploy } from "../src/deploy.ts";
import { ServedHeads } from "../src/served-heads.ts";

const F = 64;
const weights = Array.from({ length: F }, (_, f) => Math.round(1023 * Math.sin(1 + f * f)));
const worstCase = weights.reduce((sum, w) => sum + 127 * Math.abs(w), 5);
const card: Candidate["card"] = {
  name: "cost",
  outputs: ["cost"],
  calibration: null,
  link: "identity",
  range: null,
  unit: "euro",
  alert: { direction: "above", raise: 100, clear: 50 },
  training: { data: "none", machines: 1, windows: 1, metrics: {} },
  codeVersion: "test",
};
const candidate = (precision?: number): Candidate => ({
  head: { outputs: 1, weights: [weights], bias: [5], scale: 0.001, worstCase },
  card: precision === undefined ? card : { ...card, precision },
});
const request: DeployRequest = {
  featureSet: {
    kind: "feature-set",
    version: 1,
    name: "wide",
    sensors: Array.from({ length: 16 }, (_, i) => `s${i}`),
    window: { lengthMs: 1000, hopMs: 1000, latenessMs: 0 },
    regimes: null,
    lift: { kind: "statistics", statistics: ["mean", "last", "slope", "deviation"], minimumRows: 2 },
    standardise: { mean: Array(F).fill(0), deviation: Array(F).fill(1), clip: 4 },
    fourier: null,
    quantise: { bits: 8 },
  },
  candidates: [candidate()],
  keyMode: "public",
  maxMerges: 8,
  modelPrivacy: "compact",
};

describe("a deployment", () => {
  it("has exact scores where a card states no precision, in replies that are smaller than whole ones", () => {
    const { deployment, plan: planned } = deploy(request);
    expect(deployment.replies).toEqual({ step: 1, bits: planned.replies?.bits });
    expect(deployment.replies?.bits).toBeLessThan(36);
    expect(deploy({ ...request, candidates: [candidate(0.3), candidate()] }).deployment.replies?.step).toBe(1);
  });

  it("has the largest step that the finest card allows, in fewer bits", () => {
    const { deployment, heads } = deploy({ ...request, candidates: [candidate(2), candidate(0.3)] });
    // 0.3 / 0.001 is 300 integer scores.
    expect(deployment.replies?.step).toBe(256);
    expect(deployment.replies?.bits).toBeLessThanOrEqual(25);
    expect(DeploymentDocument.parse(JSON.parse(JSON.stringify(deployment)))).toEqual(deployment);
    expect(() => new ServedHeads([{ deployment, heads, modelPrivacy: "compact" }])).not.toThrow();
  });

  it("keeps eight bits of the worst score, however coarse a precision is asked for", () => {
    const { deployment } = deploy({ ...request, candidates: [candidate(1e6)] });
    expect(deployment.replies!.step).toBeLessThanOrEqual(worstCase / 256);
    expect(deployment.replies!.step).toBeGreaterThan(worstCase / 512);
  });

  it("has whole replies when asked, under the parameters of before", () => {
    const { deployment, plan: planned } = deploy({ ...request, candidates: [candidate(0.3)], replies: "whole" });
    expect(deployment).not.toHaveProperty("replies");
    const { keyMode, maxMerges, modelPrivacy } = request;
    const before = plan({ featureCount: F, featureBits: 8, heads: [candidate().head], keyMode, maxMerges, modelPrivacy });
    expect(planned.params).toEqual(before.params);
  });
});
