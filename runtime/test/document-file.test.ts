import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { ALLOW_UNENCRYPTED, readDeployment } from "../src/document-file.ts";
import { writeJsonFile } from "../src/json-file.ts";

const folder = mkdtempSync(join(tmpdir(), "smile-documents-"));
afterAll(() => rmSync(folder, { recursive: true }));

const hash = "0".repeat(64);
const deployment = (scheme: string) => ({
  kind: "deployment",
  version: 1,
  featureSet: {
    kind: "feature-set",
    version: 1,
    name: "one sensor",
    sensors: ["a"],
    window: { lengthMs: 1000, hopMs: 1000, latenessMs: 0 },
    regimes: null,
    lift: { kind: "statistics", statistics: ["mean"], minimumRows: 1 },
    standardise: { mean: [0], deviation: [1], clip: 4 },
    fourier: null,
    quantise: { bits: 8 },
  },
  params: { scheme, n: 2048, q: "9007199254740993", t: 1024 },
  keyMode: "public",
  lanes: 2048,
  maxMerges: 1,
  cards: [
    {
      kind: "model-card",
      version: 1,
      name: "card",
      headId: hash,
      featureSetId: hash,
      outputs: ["risk"],
      scale: 1,
      calibration: null,
      link: "identity",
      range: null,
      unit: "score",
      alert: { direction: "above", raise: 1, clear: 0 },
      training: { data: "none", machines: 1, windows: 1, metrics: {} },
      codeVersion: "0",
    },
  ],
});

it("reads a deployment that encrypts, and refuses a file that would switch encryption off", () => {
  const [bgv, identity] = ["bgv", "identity"].map((scheme) => {
    const path = join(folder, `${scheme}.json`);
    writeJsonFile(path, deployment(scheme));
    return path;
  });
  expect(readDeployment(bgv!, {}).params.scheme).toBe("bgv");
  expect(readDeployment(identity!, ALLOW_UNENCRYPTED).params.scheme).toBe("identity");
  expect(() => readDeployment(identity!, {})).toThrow(/params\.scheme is identity, which does not encrypt \[DOCUMENT_INVALID\]/);
});
