import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { FeatureSet } from "@smile/features/spec";
import type { KeyMode, Scheme } from "@smile/he/params";
import type { ModelPrivacy } from "@smile/he/planner";
import { deploy } from "@smile/model-service/deploy";
import { quantiseHead } from "@smile/model-service/training/quantise-head";
import { writeJsonFile } from "@smile/runtime/json-file";

/** Eight sensors, four statistics each, and as many random Fourier features: F = 64, as in `npm start`. */
export const SENSORS = Array.from({ length: 8 }, (_, i) => `sensor ${i + 1}`);
const WIDTH = 32;

export type ModelOptions = {
  readonly hopMs: number;
  readonly keyMode: KeyMode;
  readonly modelPrivacy: ModelPrivacy;
  /** Windows per ciphertext at the least; default 1. */
  readonly leastLanes?: number;
  readonly scheme: Scheme;
  readonly heads: number;
  readonly maxMerges: number;
};

/** A deployment with heads of arbitrary weights: what is measured does not depend on what they predict. */
export function benchModel({ hopMs, heads, ...options }: ModelOptions) {
  const featureSet: FeatureSet = {
    kind: "feature-set",
    version: 1,
    name: "bench",
    sensors: SENSORS,
    window: { lengthMs: hopMs, hopMs, latenessMs: 0 },
    regimes: null,
    lift: { kind: "statistics", statistics: ["mean", "last", "minimum", "maximum"], minimumRows: 1 },
    standardise: { mean: Array(WIDTH).fill(0.5), deviation: Array(WIDTH).fill(0.3), clip: 4 },
    fourier: { seed: 1, width: WIDTH, bandwidth: 0.3 },
    quantise: { bits: 8 },
  };
  const candidates = Array.from({ length: heads }, (_, i) => ({
    head: quantiseHead(
      { weights: [Array.from({ length: 2 * WIDTH }, (_, f) => ((7919 * (f + 1) + 104_729 * i) % 1023) - 511)], bias: [0] },
      new Float64Array(2 * WIDTH).fill(0.01),
      { bits: 8, weightBits: 10 },
    ),
    card: {
      name: `head ${i + 1}`,
      outputs: ["risk"],
      calibration: null,
      link: "logistic" as const,
      range: null,
      unit: "probability",
      // Never: alerts are not what is measured.
      alert: { direction: "above" as const, raise: 2, clear: 1.5 },
      training: { data: "none: arbitrary weights", machines: 1, windows: 1, metrics: {} },
      codeVersion: "bench",
    },
  }));
  return deploy({ featureSet, candidates, ...options });
}

/** Writes deployment.json and head-N.json. @returns the heads' paths */
export function writeModel(folder: string, { deployment, heads }: ReturnType<typeof benchModel>): string[] {
  mkdirSync(folder, { recursive: true });
  writeJsonFile(join(folder, "deployment.json"), deployment);
  return heads.map((head, i) => {
    const path = join(folder, `head-${i + 1}.json`);
    writeJsonFile(path, head, 0o600);
    return path;
  });
}
