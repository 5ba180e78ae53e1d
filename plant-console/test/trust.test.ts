import { createPublicKey, generateKeyPairSync } from "node:crypto";
import { PassThrough } from "node:stream";
import { createLogger } from "@smile/runtime/logging";
import { type Gap, gapCodec, type Score, scoreCodec } from "@smile/schemas/envelopes";
import type { PlantRegister } from "@smile/schemas/plant-register";
import { RegisteredPlant } from "@smile/schemas/registered-plant";
import { signFrame, signGap, signScore } from "@smile/schemas/signing";
import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openDecryptionKeys } from "../src/decryption-keys.ts";
import { DeliveryReader } from "../src/delivery-reader.ts";
import { LaneMap } from "../src/lane-map.ts";
import { ScoreReader } from "../src/score-reader.ts";
import { leases, openConsole } from "./fixture-console.ts";
import { type FixtureFrame, type FixturePlant, features, type Lies, openFixturePlant, PLANT } from "./fixture-plant.ts";

let plant: FixturePlant;
beforeAll(async () => {
  plant = await openFixturePlant({ scheme: "identity", keyMode: "public", leases });
});
afterAll(() => plant[Symbol.asyncDispose]());

const frame = (sequence: number, { gateway = "g1", machine = "m0", seed = sequence } = {}): FixtureFrame => {
  return { gateway, sequence, frameTimeMs: sequence * 1000, windows: { [machine]: features(seed) } };
};
const honest = (sequence: number) => plant.score(0, [frame(sequence)]);
const open = (bytes: Uint8Array): Score => scoreCodec.decode(bytes);

/** Delivers between two honest scores, which must be stored, and tells what became of it. */
async function deliver(...scores: Uint8Array[]) {
  await using opened = await openConsole(plant);
  await opened.deliver(honest(1), ...scores, honest(2));
  expect(opened.store.cursor.next).toBe(scores.length + 2);
  expect(opened.risks.map(({ sequence }) => sequence)).toEqual(expect.arrayContaining([1, 2]));
  const { refused, risks, contradictions } = opened.service.counters();
  return { refused, risks: risks - 2, contradictions };
}
const refusedFor = (code: string, times = 1) => ({ refused: { [code]: times }, risks: 0, contradictions: 0 });

const other = "1".repeat(64);
it.each<[keyof Score, (score: Score) => Score]>([
  ["plant", (score) => ({ ...score, plant: "ulm" })],
  ["scheme", (score) => ({ ...score, scheme: "bgv" })],
  ["keyMode", (score) => ({ ...score, keyMode: "symmetric" })],
  ["paramsId", (score) => ({ ...score, paramsId: other })],
  ["keyId", (score) => ({ ...score, keyId: other })],
  ["featureSetId", (score) => ({ ...score, featureSetId: other })],
  ["headId", (score) => ({ ...score, headId: other })],
  ["parts", (score) => ({ ...score, parts: [{ ...score.parts[0]!, frameTimeMs: 1 }] })],
  ["replies", (score) => ({ ...score, replies: [...score.replies, ...score.replies] })],
  ["signature", (score) => ({ ...score, signature: Buffer.alloc(64, 7) })],
])("refuses a score whose %s was changed on its way, before anything else looks at it", async (_, carrier) => {
  expect(await deliver(plant.score(0, [frame(9)], { carrier }))).toEqual(refusedFor("SIGNATURE_INVALID"));
});

it("refuses a score that is signed by anybody but a model service of the service document", async () => {
  const forged = (key = generateKeyPairSync("ed25519").privateKey) => scoreCodec.encode(signScore(open(honest(9)), key));
  const byGateway = forged(plant.registration.signingKeys.get("g1"));
  expect(await deliver(forged(), byGateway)).toEqual(refusedFor("SIGNATURE_INVALID", 2));
});

it("refuses what was exchanged on its way: replies of two scores, or the windows that they answer", async () => {
  const [one, two] = [honest(8), honest(9)].map(open);
  const swapped = [
    { ...one!, replies: two!.replies },
    { ...two!, replies: one!.replies },
    { ...one!, parts: two!.parts },
    { ...one!, parts: two!.parts, signature: two!.signature },
  ];
  expect(await deliver(...swapped.map((score) => scoreCodec.encode(score)))).toEqual(refusedFor("SIGNATURE_INVALID", 4));
});

it("refuses a score whose parts no gateway signed as they stand, whatever the model service says", async () => {
  const relabel = (change: object): Lies => ({ service: (score) => ({ ...score, parts: [{ ...score.parts[0]!, ...change }] }) });
  const lies = [{ sequence: 77 }, { epoch: 2 }, { gateway: "g2" }, { block: 1 }, { frameTimeMs: 5 }, { lanes: Buffer.from([2]) }];
  const scores = lies.map((change) => plant.score(0, [frame(9)], relabel(change)));
  expect(await deliver(...scores)).toEqual(refusedFor("SIGNATURE_INVALID", lies.length));
});

it("refuses a window that one gateway signed in another's name, or a stranger in its own", async () => {
  const g2 = plant.registration.signingKeys.get("g2")!;
  const service = (gateway: string) => (score: Score) => {
    const parts = score.parts.map((part) => {
      const named = { ...part, gateway };
      return { ...named, signature: signFrame({ ...score, ...named, ciphertext: Buffer.alloc(0) }, g2).signature };
    });
    return { ...score, parts };
  };
  const scores = ["g1", "g3"].map((gateway) => plant.score(0, [frame(9)], { service: service(gateway) }));
  expect(await deliver(...scores)).toEqual(refusedFor("SIGNATURE_INVALID", 2));
});

it("refuses scores of version 1, whose parts carry no signatures, and says what to do", async () => {
  const lines: string[] = [];
  const to = new PassThrough().on("data", (chunk) => lines.push(String(chunk)));
  await using opened = await openConsole(plant, { logger: createLogger({ service: "test", to }) });
  await opened.deliver(scoreCodec.encode(signScore(open(honest(1)), plant.scoreSigner), 1));
  expect(opened.service.counters()).toMatchObject({ risks: 0, refused: { SIGNATURE_INVALID: 1 } });
  expect(lines.join("")).toMatch(/name version 2 in reads.score of the plant's register/);
});

it("refuses another plant's scores and gaps, under its own name and under this one's", async () => {
  await using ulm = await openFixturePlant({ scheme: "identity", keyMode: "public", leases, plant: "ulm" });
  // One service for both plants; even the HE keys are the same, as they are for the scheme that does not encrypt.
  const bySameService = (score: Score) => scoreCodec.encode(signScore(score, plant.scoreSigner));
  const ofUlm = open(ulm.score(0, [frame(9)]));
  const range = { fromSequence: 2, toSequence: 4, frames: 3, windows: 6, fromTimeMs: 2000, toTimeMs: 4000 };
  const gap = ulm.gap({ gateway: "g1", epoch: 1, ...range, reason: "age" });
  const renamed = gapCodec.encode({ ...gapCodec.decode(gap), plant: PLANT });
  expect(await deliver(bySameService(ofUlm), bySameService({ ...ofUlm, plant: PLANT }), gap, renamed)).toEqual({
    ...{ risks: 0, contradictions: 0 },
    refused: { SCORE_MISMATCH: 2, SIGNATURE_INVALID: 2 },
  });
});

/** The register with another standing of g1's signing key. */
const standing = (state: "retiring" | "revoked", untilMs: number | null): PlantRegister => {
  const { gateways } = plant.registration.register;
  return plant.registration.next({
    gateways: gateways.map((each) => {
      return each.gateway === "g1" ? { ...each, credentials: each.credentials.map((one) => ({ ...one, state, untilMs })) } : each;
    }),
  });
};

it("refuses windows of a signing key that was revoked, and believes one that has retired", async () => {
  let trust = { ...plant.trust, plant: new RegisteredPlant(standing("retiring", 1)) };
  await using opened = await openConsole(plant, { trust: () => trust });
  await opened.deliver(honest(1));
  trust = { ...trust, plant: new RegisteredPlant(standing("revoked", null)) };
  await opened.deliver(honest(2), plant.score(0, [frame(3, { gateway: "g2", machine: "m3" })]));
  expect(opened.risks.map(({ sequence }) => sequence)).toEqual([1, 3]);
  expect(opened.service.counters().refused).toEqual({ SIGNATURE_INVALID: 1 });
});

it("drops the windows of a revoked gateway, and keeps its neighbours' of the same ciphertext", async () => {
  const trust = { ...plant.trust, plant: new RegisteredPlant(standing("revoked", null)) };
  await using opened = await openConsole(plant, { trust: () => trust });
  await opened.deliver(plant.score(0, [frame(4), frame(5, { gateway: "g2", machine: "m3" })]));
  expect(opened.risks.map(({ gateway, sequence }) => [gateway, sequence])).toEqual([["g2", 5]]);
  expect(opened.service.counters()).toMatchObject({ refused: {}, revokedWindows: 1 });
});

it("refuses a gap that its gateway did not sign", async () => {
  const range = { fromSequence: 2, toSequence: 4, frames: 3, windows: 6, fromTimeMs: 2000, toTimeMs: 4000 };
  const gap = gapCodec.decode(plant.gap({ gateway: "g1", epoch: 1, ...range, reason: "age" }));
  const byAnother: Gap = signGap(gap, plant.registration.signingKeys.get("g2")!);
  const changed = { ...gap, toSequence: 5, frames: 4 };
  const unsigned = { ...gap, signature: new Uint8Array(0) };
  const all = [byAnother, changed, unsigned].map((each) => gapCodec.encode(each));
  expect(await deliver(...all)).toEqual(refusedFor("SIGNATURE_INVALID", 3));
});

it("notices a model service that answers with another window's score: two answers that contradict each other, the first of which stays", async () => {
  const lines: string[] = [];
  const to = new PassThrough().on("data", (chunk) => lines.push(String(chunk)));
  await using opened = await openConsole(plant, { logger: createLogger({ service: "test", level: "trace", to }) });
  const wrong = open(plant.score(0, [frame(9)])).replies;
  const swapped = plant.score(0, [frame(5)], { service: (score) => ({ ...score, replies: wrong }) });
  await opened.deliver(honest(5), honest(5), swapped, swapped);
  expect(opened.service.counters()).toMatchObject({ risks: 1, duplicates: 1, contradictions: 2, refused: {} });
  const [right, theirs] = [5, 9].map((seed) => plant.plainScores(0, features(seed))[0]!);
  expect(right).not.toBe(theirs);
  const { headId } = plant.deployment.cards[0]!;
  expect(opened.store.risksOf("m0", { headId, limit: 9 }).map(({ score }) => score)).toEqual([right]);
  const logged = lines.map((line) => JSON.parse(line)).find(({ msg }) => msg.includes("answered windows again"));
  expect(logged).toMatchObject({ windows: 2, ids: [{ gateway: "g1", epoch: 1, sequence: 5, block: 0, lane: 0, headId, output: 0 }, {}] });
  expect(Object.keys(logged.ids[0])).toEqual(["gateway", "epoch", "sequence", "block", "lane", "headId", "output"]);
});

it("notices it also when the wrong answer came first", async () => {
  await using opened = await openConsole(plant);
  const wrong = open(plant.score(0, [frame(9)])).replies;
  await opened.deliver(plant.score(0, [frame(5)], { service: (score) => ({ ...score, replies: wrong }) }));
  await opened.deliver(honest(5));
  expect(opened.service.counters()).toMatchObject({ risks: 1, duplicates: 0, contradictions: 1 });
});

it("looks again whom to believe before it refuses for good, and keeps the order meanwhile", async () => {
  const signer = generateKeyPairSync("ed25519").privateKey;
  let trust = plant.trust;
  const looked = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  await using opened = await openConsole(plant, {
    trust: () => trust,
    reread: () => {
      asked.resolve();
      return looked.promise;
    },
  });
  const byNewSigner = scoreCodec.encode(signScore(open(honest(2)), signer));
  await opened.deliver(honest(1), byNewSigner, honest(3));
  await asked.promise;
  await opened.deliver(honest(4));
  expect(opened.risks.map(({ sequence }) => sequence)).toEqual([1]);
  expect(opened.cursors.at(-1)).toMatchObject({ next: 1 });
  trust = { ...trust, scoreSigners: [...trust.scoreSigners, createPublicKey(signer)] };
  looked.resolve();
  await opened.deliver(honest(5));
  expect(opened.risks.map(({ sequence }) => sequence)).toEqual([1, 2, 3, 4, 5]);
  expect(opened.service.counters().refused).toEqual({});
});

it("refuses a signed score or gap in which any bits were changed, and never fails at it", async () => {
  using keys = await openDecryptionKeys(plant.deployment, plant.secretKeys);
  const scores = new ScoreReader({ deployment: plant.deployment, keys, laneMap: new LaneMap(leases, plant.deployment.lanes) });
  const reader = new DeliveryReader({ scores, keys, trust: () => plant.trust });
  const range = { fromSequence: 2, toSequence: 4, frames: 3, windows: 6, fromTimeMs: 2000, toTimeMs: 4000 };
  const payloads = [honest(1), plant.gap({ gateway: "g1", epoch: 1, ...range, reason: "age" })];
  for (const payload of payloads) expect(reader.read(payload, 0).kind).toBe("read");
  const changes = fc.array(fc.record({ at: fc.nat(), bits: fc.integer({ min: 1, max: 255 }) }), { minLength: 1, maxLength: 4 });
  const end = fc.option(fc.nat(), { freq: 10 });
  fc.assert(
    fc.property(fc.constantFrom(...payloads), changes, end, (payload, list, cut) => {
      const changed = Buffer.from(payload);
      // Half of them in the first 200 bytes: that is where the fields are.
      for (const { at, bits } of list) changed[at % (at % 2 ? 200 : changed.length)]! ^= bits;
      const bytes = cut === null ? changed : changed.subarray(0, cut % changed.length);
      fc.pre(!payload.equals(bytes));
      expect(reader.read(bytes, 0).kind).toBe("refused");
    }),
    { seed: 37, numRuns: 3000 },
  );
});

it("asks to look again once for each delivery that it cannot believe, and then refuses it", async () => {
  let looks = 0;
  await using opened = await openConsole(plant, {
    reread: async () => {
      looks++;
    },
  });
  const forged = (sequence: number) => plant.score(0, [frame(sequence)], { carrier: (score) => ({ ...score, headId: other }) });
  await opened.deliver(forged(1), honest(2), forged(3));
  await opened.deliver(honest(4));
  expect(looks).toBe(2);
  expect(opened.service.counters()).toMatchObject({ risks: 2, refused: { SIGNATURE_INVALID: 2 } });
  expect(opened.store.cursor.next).toBe(4);
});
