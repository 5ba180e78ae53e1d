import { isPipelineError } from "@smile/errors/pipeline-error";
import { plan } from "@smile/he/planner";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { z } from "zod";
import {
  type Deployment,
  DeploymentDocument,
  documentId,
  FeatureSetDocument,
  HeadDocument,
  LeaseDocument,
  ModelCardDocument,
  ParamsDocument,
  PublicKeyDocument,
  parseDocument,
} from "../src/documents.ts";
import { paramsFromDocument, paramsToDocument } from "../src/params-document.ts";
import { cursorTopic, jobCursorTopic, jobScoresTopic, parseFramesTopic, scoresTopic, WORK_KINDS, WORK_TOPICS } from "../src/topics.ts";

const id = "a".repeat(64);
const featureSet = {
  kind: "feature-set",
  version: 1,
  name: "turbofan",
  sensors: ["T24", "T30"],
  window: { lengthMs: 30_000, hopMs: 1000, latenessMs: 0 },
  regimes: null,
  lift: { kind: "statistics", statistics: ["mean", "slope"], minimumRows: 3 },
  standardise: { mean: [0, 0, 0, 0], deviation: [1, 1, 1, 1], clip: 4 },
  fourier: { seed: 7, width: 8, bandwidth: 0.4 },
  quantise: { bits: 8 },
};
const head = { kind: "head", version: 1, featureSetId: id, outputs: 1, weights: [[1, -2, 3]], bias: [4], scale: 0.01, worstCase: 766 };
const card = {
  kind: "model-card",
  version: 1,
  name: "remaining life",
  headId: id,
  featureSetId: id,
  outputs: ["rul"],
  scale: 0.01,
  calibration: null,
  link: "identity",
  range: [0, 125],
  unit: "cycles",
  alert: { direction: "below", raise: 30, clear: 40 },
  training: { data: "FD001", machines: 100, windows: 20_631, metrics: { rmse: 13.4 } },
  codeVersion: "0.1.0",
};
const deployment = {
  kind: "deployment",
  version: 1,
  featureSet,
  params: { scheme: "bgv", n: 2048, q: "9007199086968833", t: 16_777_216 },
  keyMode: "public",
  lanes: 32,
  maxMerges: 32,
  cards: [card],
};
const publicKey = { kind: "public-key", version: 1, plant: "p", gateway: null, paramsId: id, keyId: id, publicKey: "AAEC" };
const lease = { gateway: "g", firstLane: 0, machines: ["m"] };
const EXAMPLES: readonly [string, z.ZodType<unknown>, object][] = [
  ["feature set", FeatureSetDocument, featureSet],
  ["head", HeadDocument, head],
  ["model card", ModelCardDocument, card],
  ["deployment", DeploymentDocument, deployment],
  ["public key", PublicKeyDocument, publicKey],
  ["lease", LeaseDocument, lease],
];

const messageOf = (schema: z.ZodType<unknown>, json: unknown): string => {
  try {
    parseDocument(schema, json, "file.json");
  } catch (error) {
    if (!isPipelineError(error, "DOCUMENT_INVALID")) throw error;
    return error.message;
  }
  return "accepted";
};

/** Every path to a value that is no object, as in "window.lengthMs". */
function leaves(value: unknown, path: readonly string[] = []): string[][] {
  if (value === null || typeof value !== "object" || (Array.isArray(value) && value.length === 0)) return [[...path]];
  return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...path, key]));
}
/** A copy with the value at a path replaced. */
function changed(value: unknown, [key, ...rest]: readonly string[], to: (old: unknown) => unknown): unknown {
  if (key === undefined) return to(value);
  if (Array.isArray(value)) return value.map((inner, i) => (String(i) === key ? changed(inner, rest, to) : inner));
  return Object.fromEntries(Object.entries(value as object).map(([k, inner]) => [k, k === key ? changed(inner, rest, to) : inner]));
}
/** The same document with the keys of every object in reverse order. */
function reordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reordered);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, inner]) => [key, reordered(inner)]),
  );
}

describe.each(EXAMPLES)("a %s", (_, schema, document) => {
  it("is read as it is, and comes back from its JSON", () => {
    expect(parseDocument(schema, JSON.parse(JSON.stringify(document)), "file.json")).toEqual(document);
  });

  it("has an id that does not depend on the order of keys, and that any changed value changes", () => {
    const original = documentId(document);
    expect(original).toMatch(/^[0-9a-f]{64}$/);
    expect(documentId(reordered(document) as object)).toBe(original);
    const ids = leaves(document).map((path) =>
      documentId(changed(document, path, (old) => (typeof old === "number" ? old + 1 : `${old}x`)) as object),
    );
    expect(ids).not.toContain(original);
  });

  it("is refused with the name of each field of the wrong type, one at a time", () => {
    for (const path of leaves(document)) {
      const message = messageOf(
        schema,
        changed(document, path, () => ({ wrong: true })),
      );
      expect(message).toContain("file.json: ");
      // A union names its own place, which may be above the field.
      expect(path.some((__, depth) => message.includes(path.slice(0, depth + 1).join(".")))).toBe(true);
    }
  });

  it("is refused with the name of each missing or unknown field", () => {
    for (const key of Object.keys(document)) {
      const { [key as keyof typeof document]: _removed, ...rest } = document;
      expect(messageOf(schema, rest)).toContain(key);
    }
    expect(messageOf(schema, { ...document, surplus: 1 })).toContain("surplus");
  });
});

describe("documents", () => {
  it("name every wrong field at once", () => {
    const message = messageOf(FeatureSetDocument, { ...featureSet, name: "", window: { lengthMs: 0, hopMs: 1.5, latenessMs: -1 } });
    for (const path of ["name", "window.lengthMs", "window.hopMs", "window.latenessMs"]) expect(message).toContain(path);
  });

  it("that are no objects are refused at the top level", () => {
    for (const json of [null, 5, "text", [], undefined]) expect(messageOf(HeadDocument, json)).toContain("top level");
  });

  it("that have no canonical JSON have no id", () => {
    expect(() => documentId({ a: Number.NaN })).toThrow();
    expect(() => documentId(undefined as unknown as object)).toThrow();
  });

  it.each([
    ["q as a number", { q: 9007199086968833 }],
    ["q in hexadecimal", { q: "0x1fffffff" }],
    ["a ring that no plan uses", { n: 1024 }],
    ["an unknown scheme", { scheme: "ckks" }],
    ["t below 2", { t: 1 }],
  ])("with parameters refuse %s", (__, change) => {
    const [field] = Object.keys(change);
    expect(messageOf(ParamsDocument, { ...deployment.params, ...change })).toContain(field!);
  });

  it("may say how replies are sent, and deployments of before, which do not, stay what they are", () => {
    const switched = { ...deployment, replies: { bits: 25, step: 256 }, cards: [{ ...card, precision: 0.2 }] };
    expect(parseDocument(DeploymentDocument, switched, "file.json")).toEqual(switched);
    expect(parseDocument(DeploymentDocument, deployment, "file.json")).not.toHaveProperty("replies");
  });

  it.each([
    ["more bits than can be summed exactly", { bits: 42, step: 1 }],
    ["no bits", { bits: 0, step: 1 }],
    ["a step that is no power of two", { bits: 25, step: 3 }],
    ["a step below 1", { bits: 25, step: 0.5 }],
    ["a step beyond every t", { bits: 25, step: 2 ** 50 }],
    ["anything that is not known", { bits: 25, step: 1, mode: "rounded" }],
  ])("with replies refuse %s", (__, replies) => {
    expect(messageOf(DeploymentDocument, { ...deployment, replies })).toContain("replies");
  });

  it("carry planned parameters without losing a digit", () => {
    const largest = fc.record({
      featureCount: fc.constantFrom(1, 64, 347),
      weight: fc.integer({ min: 1, max: 1023 }),
      sanitised: fc.boolean(),
    });
    fc.assert(
      fc.property(largest, ({ featureCount, weight, sanitised }) => {
        const { params } = plan({
          featureCount,
          featureBits: 8,
          heads: [{ weights: [Array.from({ length: featureCount }, () => weight)], bias: [0] }],
          keyMode: "symmetric",
          maxMerges: 1,
          modelPrivacy: sanitised ? "sanitised" : "compact",
        });
        const text = JSON.stringify(paramsToDocument(params));
        const read: Deployment["params"] = parseDocument(ParamsDocument, JSON.parse(text), "params");
        expect(paramsFromDocument(read)).toEqual(params);
      }),
      { numRuns: 12, seed: 60 },
    );
    expect(() => paramsToDocument({ scheme: "bgv", n: 8192, q: 1n, t: 2 })).toThrow(RangeError);
  });
});

describe("topics", () => {
  const name = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/);

  it("a frames topic names its sender and the kind of work", () => {
    fc.assert(
      fc.property(name, name, fc.constantFrom(...WORK_KINDS), (plant, gateway, work) => {
        expect(parseFramesTopic(WORK_TOPICS[work].mqtt.frames(plant, gateway))).toEqual({ plant, gateway, work });
      }),
      { numRuns: 100, seed: 61 },
    );
  });

  it.each([
    scoresTopic("p"),
    cursorTopic("p"),
    jobScoresTopic("p"),
    jobCursorTopic("p"),
    "smile/v1/p/g/other",
    "smile/v1/p/g/jobs/more",
    "smile/v1/p/g/frames/more",
    "smile/v2/p/g/frames",
    "other/v1/p/g/frames",
    "smile/v1//g/frames",
    "smile/v1/p/+/frames",
    "smile/v1/#/g/frames",
    "smile/v1/.p/g/frames",
    `smile/v1/${"p".repeat(65)}/g/frames`,
    "smile/v1/p/g/frames\n",
    "",
  ])("'%s' is no frames topic", (topic) => {
    expect(() => parseFramesTopic(topic)).toThrow(/FRAME_WRONG_SENDER/);
  });
});
