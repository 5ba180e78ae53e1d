import { generateKeyPairSync } from "node:crypto";
import { nearestSegment } from "@smile/features/records/nearest-segment";
import type { Scheme } from "@smile/he/params";
import { documentId } from "@smile/schemas/documents";
import type { Part, Score } from "@smile/schemas/envelopes";
import { RegisteredPlant } from "@smile/schemas/registered-plant";
import { beforeAll, describe, expect, it } from "vitest";
import { openDecryptionKeys } from "../../src/decryption-keys.ts";
import { JobStore } from "../../src/segments/job-store.ts";
import { SegmentReader } from "../../src/segments/segment-reader.ts";
import { type FixturePlant, features, type Lies, openFixturePlant, PLANT } from "../fixture-plant.ts";
import { segmentDeployment } from "./fixture-deployment.ts";

const leases = [
  { gateway: "hr", firstLane: 0, machines: ["r0", "r1", "r2", "r3"] },
  { gateway: "hr2", firstLane: 4, machines: ["r4"] },
];
/** What is signed about a job's frame. */
const ofJob =
  (more: Partial<Part> = {}, featureSetId?: string) =>
  (score: Score): Score => ({
    ...score,
    featureSetId: featureSetId ?? segmentFeatureSetId,
    parts: score.parts.map((part) => ({ ...part, jobId: "survey", frameCount: 3, ...more })),
  });
let segmentFeatureSetId = "";

async function open(scheme: Scheme) {
  const stack = new AsyncDisposableStack();
  const plant = stack.use(await openFixturePlant({ scheme, keyMode: "public", leases }));
  const deployment = segmentDeployment(plant.deployment);
  segmentFeatureSetId = documentId(deployment.featureSet);
  const keys = stack.use(await openDecryptionKeys(plant.deployment, plant.secretKeys));
  const reader = new SegmentReader({ plant: PLANT, deployment, keys });
  /** A score of a job's frame by the head of two outputs. */
  const score = (sequence: number, lies: Lies = { gateway: ofJob() }, head = 1) => {
    const windows = { r0: features(sequence), r1: features(sequence + 5), r3: features(sequence + 11) };
    return plant.score(head, [{ gateway: "hr", sequence, frameTimeMs: 1, windows }], lies);
  };
  return { plant, deployment, keys, reader, score, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

const expected = (plant: FixturePlant, sequence: number, lanes: number) =>
  [
    [0, 0],
    [1, 5],
    [3, 11],
  ].map(([lane, more]) => ({
    index: sequence * lanes + lane!,
    segment: nearestSegment(plant.plainScores(1, features(sequence + more!))),
  }));

describe.each(["identity", "bgv"] as const)("scores of a job under %s", (scheme) => {
  it("become the segments that the plaintext head gives, at the records' places", async () => {
    await using it = await open(scheme);
    const { lanes } = it.deployment;
    for (const sequence of [0, 2]) {
      const read = it.reader.read(it.score(sequence), it.plant.trust);
      expect(read).toMatchObject({ jobId: "survey", gateway: "hr", epoch: 1, frameCount: 3, lanes, segments: 2, revokedRecords: 0 });
      expect(read.records).toEqual(expected(it.plant, sequence, lanes));
    }
  });
});

describe("a score", () => {
  let it_: Awaited<ReturnType<typeof open>>;
  beforeAll(async () => {
    it_ = await open("identity");
    return () => it_[Symbol.asyncDispose]();
  });
  const refused = (bytes: Uint8Array, code: string, facts: object = {}, trust = it_.plant.trust) =>
    expect(() => it_.reader.read(bytes, trust)).toThrow(
      expect.objectContaining({ code, ...(Object.keys(facts).length > 0 && { facts: expect.objectContaining(facts) }) }),
    );

  it("of a stream is refused, and one that is half a job's", () => {
    refused(it_.score(0, { gateway: ofJob({ jobId: null, frameCount: null }) }), "SCORE_MISMATCH", { field: "jobId" });
    refused(it_.score(0, { gateway: ofJob({ frameCount: null }) }), "SCORE_MISMATCH", { field: "jobId" });
  });

  it("beyond the job's last frame is refused", () => {
    refused(it_.score(3), "SCORE_MISMATCH", { field: "sequence" });
  });

  it("whose parts are of two jobs, two gateways or two epochs is refused", () => {
    const merged = (lie: (part: Part, i: number) => Partial<Part>) =>
      it_.plant.score(
        1,
        [
          { gateway: "hr", sequence: 0, frameTimeMs: 1, windows: { r0: features(1) } },
          { gateway: "hr", sequence: 1, frameTimeMs: 1, windows: { r1: features(2) } },
        ],
        { gateway: (score) => ((s) => ({ ...s, parts: s.parts.map((part, i) => ({ ...part, ...lie(part, i) })) }))(ofJob()(score)) },
      );
    const { lanes } = it_.deployment;
    expect(
      it_.reader
        .read(
          merged(() => ({})),
          it_.plant.trust,
        )
        .records.map(({ index }) => index),
    ).toEqual([0, lanes + 1]);
    refused(
      merged((_, i) => ({ jobId: `job ${i}` })),
      "SCORE_MISMATCH",
      { field: "jobId" },
    );
    refused(
      merged((_, i) => ({ frameCount: 3 + i })),
      "SCORE_MISMATCH",
      { field: "frameCount" },
    );
    refused(
      merged((_, i) => ({ epoch: 1 + i })),
      "SCORE_MISMATCH",
      { field: "epoch" },
    );
    refused(
      merged((_, i) => ({ gateway: ["hr", "hr2"][i]! })),
      "SCORE_MISMATCH",
      { field: "gateway" },
    );
  });

  it("under other parameters, of another feature set or by another head is refused", () => {
    refused(it_.score(0, { gateway: ofJob({}, "0".repeat(64)) }), "SCORE_MISMATCH", { field: "featureSetId" });
    refused(it_.score(0, { gateway: (s) => ({ ...ofJob()(s), paramsId: "0".repeat(64) }) }), "SCORE_MISMATCH", { field: "paramsId" });
    refused(it_.score(0, { gateway: ofJob() }, 0), "SCORE_MISMATCH", { field: "headId" });
    refused(it_.score(0, { gateway: ofJob(), service: (s) => ({ ...s, replies: s.replies.slice(1) }) }), "SCORE_MISMATCH", {
      field: "replies",
    });
    refused(it_.score(0, { gateway: (s) => ({ ...ofJob()(s), plant: "bochum" }) }), "SCORE_MISMATCH", { field: "plant" });
    refused(it_.score(0, { gateway: (s) => ({ ...ofJob()(s), keyId: "0".repeat(64) }) }), "KEY_UNKNOWN");
  });

  it("that anybody changed on the way, or put into another job, is refused", () => {
    const relabel = ofJob({ jobId: "another" });
    refused(it_.score(0, { gateway: ofJob(), service: relabel }), "SIGNATURE_INVALID");
    refused(it_.score(0, { gateway: ofJob(), carrier: relabel }), "SIGNATURE_INVALID");
    const exchanged = (s: Score) => ({ ...s, replies: s.replies.toReversed() });
    refused(it_.score(0, { gateway: ofJob(), carrier: exchanged }), "SIGNATURE_INVALID");
    const stranger = { ...it_.plant.trust, scoreSigners: [generateKeyPairSync("ed25519").publicKey] };
    refused(it_.score(0), "SIGNATURE_INVALID", {}, stranger);
  });

  it("is refused by a reader of another plant, whatever register it is given", () => {
    const { deployment, keys, plant } = it_;
    const reader = new SegmentReader({ plant: "bochum", deployment, keys });
    expect(() => reader.read(it_.score(0), plant.trust)).toThrow(expect.objectContaining({ code: "SCORE_MISMATCH" }));
  });

  it("of a gateway that was revoked is refused", () => {
    const { register } = it_.plant.registration;
    const gateways = register.gateways.map((each) => ({
      ...each,
      credentials: each.credentials.map((credential) => ({ ...credential, state: "revoked" as const })),
    }));
    refused(it_.score(0), "SIGNATURE_INVALID", {}, { ...it_.plant.trust, plant: new RegisteredPlant({ ...register, gateways }) });
  });

  it("goes into the store once, whatever is delivered again", () => {
    using store = new JobStore({ path: ":memory:", plant: PLANT });
    const reads = [1, 0, 1, 2].map((sequence) => it_.reader.read(it_.score(sequence), it_.plant.trust));
    for (const read of reads) store.store(read);
    const { jobId, headId } = reads[0]!;
    expect(store.state({ jobId, headId })).toMatchObject({ frameCount: 3, frames: 3, records: 9, duplicated: 3, contradictions: 0 });
    const all = [0, 1, 2].flatMap((sequence) => expected(it_.plant, sequence, it_.deployment.lanes));
    expect(Array.from(store.assignments({ jobId, headId }))).toEqual(all);
  });
});

it("refuses a card of another feature set, or of more segments than a byte tells apart", async () => {
  await using it = await open("identity");
  const [card] = it.deployment.cards;
  const make = (lie: object) => () =>
    new SegmentReader({ plant: PLANT, deployment: { ...it.deployment, cards: [{ ...card!, ...lie }] }, keys: it.keys });
  const segments = Array.from({ length: 256 }, (_, k) => ({ name: `s${k}`, words: "" }));
  expect(make({ featureSetId: "0".repeat(64) })).toThrow(expect.objectContaining({ code: "DOCUMENT_INVALID" }));
  expect(make({ segments })).toThrow(expect.objectContaining({ code: "DOCUMENT_INVALID" }));
});
