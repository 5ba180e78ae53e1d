import { expect, it } from "vitest";
import { parseDocument } from "../src/documents.ts";
import { negotiate, ServiceDocument } from "../src/service-document.ts";
import { newSigningKey } from "../src/signing-key.ts";

const service: ServiceDocument = {
  kind: "service",
  version: 1,
  name: "operator",
  framesUrl: "mqtts://frames.example:8883",
  scoresUrl: "mqtt://127.0.0.1:1884",
  certificateAuthority: null,
  scoreSigners: [newSigningKey("model service").publicKey],
  reads: { frame: [1], gap: [1] },
};

it("a service document comes back from its JSON", () => {
  expect(parseDocument(ServiceDocument, JSON.parse(JSON.stringify(service)), "service.json")).toEqual(service);
});

it.each([
  ["framesUrl", { framesUrl: "https://frames.example" }],
  ["framesUrl", { framesUrl: "frames.example" }],
  ["scoresUrl", { scoresUrl: "ws://scores.example" }],
  ["scoreSigners", { scoreSigners: [] }],
  ["scoreSigners.0", { scoreSigners: ["AAAA"] }],
  ["scoreSigners.0", { scoreSigners: [`${service.scoreSigners[0]} `] }],
  ["reads.frame", { reads: { frame: [], gap: [1] } }],
  ["reads.gap.0", { reads: { frame: [1], gap: [0] } }],
  ["certificateAuthority", { certificateAuthority: undefined }],
  ["surplus", { surplus: 1 }],
])("a service document with a wrong %s is refused by that name", (field, change) => {
  expect(() => parseDocument(ServiceDocument, { ...service, ...change }, "service.json")).toThrow(field);
});

it("the highest version that both sides know is written, in whatever order they name them", () => {
  expect(negotiate("score", [1, 2], [1, 2])).toBe(2);
  expect(negotiate("score", [1, 2, 3], [2, 1])).toBe(2);
  expect(negotiate("score", [2, 1], [1, 7])).toBe(1);
});

it("where no version is common, the error names both sides'", () => {
  for (const [written, read] of [
    [[1, 2], [3]],
    [[1], []],
    [[], [1]],
  ] as const) {
    expect(() => negotiate("score", written, read)).toThrow(/score.*VERSION_UNSUPPORTED/);
  }
  expect(() => negotiate("gap", [4, 5], [6])).toThrow("4, 5; the reader takes 6");
});
