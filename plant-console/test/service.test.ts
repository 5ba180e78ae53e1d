import { PassThrough } from "node:stream";
import { createLogger } from "@smile/runtime/logging";
import { deliveryCodec, gapCodec, type Score } from "@smile/schemas/envelopes";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openDecryptionKeys } from "../src/decryption-keys.ts";
import type { StoredGap } from "../src/gap-table.ts";
import { dealtWith, leases, openConsole } from "./fixture-console.ts";
import { type FixturePlant, features, openFixturePlant } from "./fixture-plant.ts";

describe("with one key for the plant", () => {
  let plant: FixturePlant;
  beforeAll(async () => {
    plant = await openFixturePlant({ scheme: "identity", keyMode: "public", leases });
  });
  afterAll(() => plant[Symbol.asyncDispose]());
  const frame = (gateway: string, sequence: number, machines: readonly string[], frameTimeMs = sequence * 1000) => ({
    gateway,
    sequence,
    frameTimeMs,
    windows: Object.fromEntries(machines.map((machine) => [machine, features(sequence * 10 + Number(machine.slice(1)))])),
  });

  it("gives each machine its own exact scores, of merged frames, by every output of every head, in every block", async () => {
    await using opened = await openConsole(plant);
    const merged = [frame("g2", 1, ["m4", "m3"]), frame("g1", 1, ["m0", "m2"])];
    await opened.deliver(plant.score(0, merged), plant.score(1, merged), plant.score(1, [frame("g2", 2, ["m9"])]));
    const found = opened.risks.map(({ machine, headId, output, score }) => [machine, headId, output, score]);
    const expected = [
      ...[0, 1].flatMap((head) => merged.flatMap(({ windows }) => Object.entries(windows).map((entry) => [head, ...entry] as const))),
      [1, "m9", features(29)] as const,
    ].flatMap(([head, machine, values]) =>
      plant.plainScores(head, values).map((score, output) => [machine, plant.deployment.cards[head]!.headId, output, score]),
    );
    const sorted = (list: unknown[][]) => list.map((each) => each.join(" ")).sort();
    expect(sorted(found)).toEqual(sorted(expected));
    expect(opened.service.counters()).toMatchObject({ risks: expected.length, duplicates: 0, unknownLanes: 0, refused: {} });
    expect(opened.service.latency()).toMatchObject({ count: expected.length });
  });

  it("stores and tells a gap in its turn, and refuses one of another plant or that contradicts itself", async () => {
    const gaps: StoredGap[] = [];
    await using opened = await openConsole(plant, { onGap: (gap) => gaps.push(gap) });
    const range = { fromSequence: 2, toSequence: 4, frames: 3, windows: 6, fromTimeMs: 2000, toTimeMs: 4000 };
    const gap = { gateway: "g1", epoch: 1, ...range, reason: "age" as const };
    const wrong = [{ frames: 4 }, { windows: -1 }].map((change) => plant.gap({ ...gap, ...change }));
    const ofAnother = gapCodec.encode({ ...gapCodec.decode(plant.gap(gap)), plant: "other" });
    await opened.deliver(plant.score(0, [frame("g1", 1, ["m0"])]), ...wrong, ofAnother, plant.gap(gap), plant.gap(gap));
    expect(gaps).toMatchObject([{ gateway: "g1", fromSequence: 2, toSequence: 4, missingFrames: 3, missingWindows: 6, reason: "age" }]);
    expect(opened.store.gaps(9)).toEqual(gaps);
    expect(opened.service.counters()).toMatchObject({ risks: 1, gaps: 1, lostFrames: 3, lostWindows: 6, refused: { SCORE_MISMATCH: 3 } });
    expect(opened.cursors.at(-1)).toMatchObject({ next: 6 });
  });

  it("says its cursor after connecting and after each stored batch", async () => {
    await using opened = await openConsole(plant);
    await opened.deliver(plant.score(0, [frame("g1", 1, ["m0"])]));
    await opened.deliver(plant.score(0, [frame("g1", 2, ["m0"])]), plant.score(0, [frame("g1", 3, ["m0"])]));
    expect(opened.cursors).toEqual([
      { topicId: null, partition: null, next: null, resume: true },
      { topicId: "scores", partition: 0, next: 1, resume: false },
      { topicId: "scores", partition: 0, next: 3, resume: false },
    ]);
  });

  it("stores a window once when its frame comes again in another batch, and a delivery behind the cursor not at all", async () => {
    await using opened = await openConsole(plant);
    const first = frame("g1", 1, ["m0", "m1"]);
    await opened.deliver(plant.score(0, [first]), plant.score(0, [frame("g2", 1, ["m3"]), first]));
    const again = { topicId: "scores", partition: 0, from: 0, offset: 0, score: plant.score(0, [first]) };
    await opened.handlers.onDelivery(deliveryCodec.encode(again));
    await dealtWith();
    expect(opened.service.counters()).toMatchObject({ risks: 3, duplicates: 2, repeatedDeliveries: 1 });
    expect(opened.store.counts().risks).toBe(3);
  });

  it("stores nothing that something is missing before, asks for it once, and goes on when it comes", async () => {
    await using opened = await openConsole(plant);
    const [first, second, third] = [1, 2, 3].map((sequence) => plant.score(0, [frame("g1", sequence, ["m0"])]));
    const deliver = (offset: number, score: Uint8Array) =>
      opened.handlers.onDelivery(deliveryCodec.encode({ topicId: "scores", partition: 0, from: offset, offset, score }));
    await opened.deliver(first!);
    await deliver(2, third!);
    await dealtWith();
    await deliver(2, third!);
    await dealtWith();
    const asked = { topicId: "scores", partition: 0, next: 1, resume: true };
    expect(opened.cursors.slice(2)).toEqual([asked]);
    expect(opened.service.counters()).toMatchObject({ risks: 1, earlyDeliveries: 2 });
    await deliver(1, second!);
    await deliver(2, third!);
    await dealtWith();
    expect(opened.service.counters()).toMatchObject({ risks: 3, duplicates: 0 });
    expect(opened.cursors.at(-1)).toEqual({ ...asked, next: 3, resume: false });
  });

  it("keeps a late window out of the alerts and counts it", async () => {
    await using opened = await openConsole(plant);
    const scores = [5, 4, 6].map((sequence) => plant.score(0, [frame("g1", sequence, ["m0"])]));
    await opened.deliver(...scores);
    expect(opened.service.counters()).toMatchObject({ risks: 3, late: 1 });
    expect(opened.store.mostAtRisk({ headId: plant.deployment.cards[0]!.headId, direction: "above", limit: 1 })[0]!.frameTimeMs).toBe(6000);
  });

  it("raises and clears alerts by the card's rule and tells of them once", async () => {
    await using opened = await openConsole(plant);
    const sequences = Array.from({ length: 30 }, (_, i) => i + 1);
    await opened.deliver(...sequences.map((sequence) => plant.score(0, [frame("g1", sequence, ["m0"])])));
    const { scale } = plant.deployment.cards[0]!;
    let raised = false;
    const expected = sequences.flatMap((sequence) => {
      const real = plant.plainScores(0, features(sequence * 10))[0]! * scale;
      const risk = 1 / (1 + Math.exp(-real));
      if (raised ? risk > 0.5 : risk < 0.8) return [];
      raised = !raised;
      return [[raised ? "raised" : "cleared", sequence * 1000]];
    });
    expect(expected.length).toBeGreaterThan(2);
    expect(opened.alerts.map(({ kind, alert }) => [kind, kind === "raised" ? alert.raisedAtMs : alert.clearedAtMs])).toEqual(expected);
  });

  it.each<[keyof Score, (score: Score) => Score]>([
    ["plant", (score) => ({ ...score, plant: "ulm" })],
    ["scheme", (score) => ({ ...score, scheme: "bgv" })],
    ["keyMode", (score) => ({ ...score, keyMode: "symmetric" })],
    ["paramsId", (score) => ({ ...score, paramsId: "1".repeat(64) })],
    ["featureSetId", (score) => ({ ...score, featureSetId: "1".repeat(64) })],
    ["headId", (score) => ({ ...score, headId: "1".repeat(64) })],
    ["replies", (score) => ({ ...score, replies: [...score.replies, ...score.replies] })],
    ["parts", (score) => ({ ...score, parts: [] })],
  ])("refuses a score whose %s is not its own, and stores its neighbours", async (_, change) => {
    await using opened = await openConsole(plant);
    const good = [1, 2].map((sequence) => plant.score(0, [frame("g1", sequence, ["m0"])]));
    await opened.deliver(good[0]!, plant.score(0, [frame("g1", 9, ["m0"])], { gateway: change }), good[1]!);
    expect(opened.service.counters()).toMatchObject({ risks: 2, refused: { SCORE_MISMATCH: 1 } });
    expect(opened.store.cursor).toEqual({ topicId: "scores", partition: 0, next: 3 });
  });

  it("refuses lanes that overlap or do not exist, replies that are no replies, and bytes that are no score", async () => {
    await using opened = await openConsole(plant);
    const spoiled = (change: (score: Score) => Score) => plant.score(0, [frame("g1", 9, ["m0"])], { gateway: change });
    await opened.deliver(
      spoiled((score) => ({ ...score, parts: [...score.parts, ...score.parts] })),
      spoiled((score) => ({ ...score, parts: [{ ...score.parts[0]!, lanes: Buffer.alloc(3, 1) }] })),
      spoiled((score) => ({ ...score, replies: [Buffer.from(score.replies[0]!).subarray(1)] })),
      spoiled((score) => ({ ...score, replies: [Buffer.alloc(score.replies[0]!.length, 255)] })),
      Buffer.from("S"),
      plant.score(0, [frame("g1", 1, ["m0"])]),
    );
    await opened.handlers.onDelivery(Buffer.from("no delivery"));
    expect(opened.service.counters()).toMatchObject({
      risks: 1,
      malformed: 1,
      refused: { LANES_INVALID: 2, FRAME_WRONG_LENGTH: 1, RESIDUE_OUT_OF_RANGE: 1, FRAME_MALFORMED: 1 },
    });
    expect(opened.store.cursor.next).toBe(6);
  });

  it("drops and counts the scores of lanes that are not leased to the gateway, and keeps the others of the frame", async () => {
    await using opened = await openConsole(plant, { leases: leases.slice(0, 1) });
    await opened.deliver(plant.score(1, [frame("g1", 1, ["m0"]), frame("g2", 1, ["m3", "m4"])]));
    expect(opened.service.counters()).toMatchObject({ risks: 2, unknownLanes: 2 });
    expect(opened.risks.every(({ machine }) => machine === "m0")).toBe(true);
  });

  it("waits for more where it is told to, but not once a batch is full", async () => {
    await using opened = await openConsole(plant, { batchWaitMs: 3_600_000, batchDeliveries: 3 });
    const scores = [1, 2, 3, 4].map((sequence) => plant.score(0, [frame("g1", sequence, ["m0"])]));
    await opened.deliver(...scores.slice(0, 2));
    expect(opened.store.counts().risks).toBe(0);
    await opened.deliver(...scores.slice(2));
    expect(opened.store.counts().risks).toBe(3);
    expect(opened.cursors.at(-1)).toEqual({ topicId: "scores", partition: 0, next: 3, resume: false });
    await opened.service[Symbol.asyncDispose]();
    expect(opened.store.counts().risks).toBe(4);
    expect(opened.cursors.at(-1)!.next).toBe(4);
  });

  it("goes on when a listener throws", async () => {
    await using opened = await openConsole(plant, {
      onRisk: () => {
        throw new Error("a sink is broken");
      },
    });
    await opened.deliver(plant.score(0, [frame("g1", 1, ["m0"])]));
    expect(opened.store.counts().risks).toBe(1);
  });

  it("ends with the store's error when nothing can be stored", async () => {
    await using opened = await openConsole(plant);
    opened.store[Symbol.dispose]();
    await opened.deliver(plant.score(0, [frame("g1", 1, ["m0"])]));
    await expect(opened.service.done).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
  });

  it("refuses overlapping leases and cards of another feature set before it connects", async () => {
    await expect(openConsole(plant, { leases: [...leases, leases[0]!] })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    const cards = plant.deployment.cards.map((card) => ({ ...card, featureSetId: "1".repeat(64) }));
    await expect(openConsole(plant, { deployment: { ...plant.deployment, cards } })).rejects.toMatchObject({ code: "DOCUMENT_INVALID" });
  });

  it("refuses a deployment whose replies are coarser than a card's precision", async () => {
    await using plant = await openFixturePlant({
      scheme: "identity",
      keyMode: "public",
      leases: [{ gateway: "g", firstLane: 0, machines: ["m"] }],
    });
    const withPrecision = (precision: number) => ({
      ...plant.deployment,
      replies: { bits: 40, step: 4 },
      cards: plant.deployment.cards.map((card) => ({ ...card, precision })),
    });
    const coarsest = Math.max(...plant.deployment.cards.map(({ scale }) => 4 * scale));
    await expect(openConsole(plant, { deployment: withPrecision(coarsest / 10) })).rejects.toThrow(/coarser than its precision allows/);
    await expect(openConsole(plant, { deployment: { ...plant.deployment, replies: { bits: 40, step: 4 } } })).rejects.toThrow(/coarser/);
    await using _console = await openConsole(plant, { deployment: withPrecision(coarsest) });
  });

  it("writes no score, risk or key into its log", async () => {
    const lines: string[] = [];
    const to = new PassThrough().on("data", (chunk) => lines.push(String(chunk)));
    await using opened = await openConsole(plant, { logger: createLogger({ service: "test", level: "trace", to }) });
    await opened.deliver(
      plant.score(0, [frame("g1", 1, ["m0"])]),
      Buffer.from("S"),
      plant.score(0, [frame("g1", 9, ["m0"])], { gateway: (score) => ({ ...score, plant: "ulm" }) }),
    );
    const text = lines.join("");
    expect(text).toContain("SCORE_MISMATCH");
    const { score, risk } = opened.risks[0]!;
    for (const secret of [String(score), String(risk), Buffer.from(plant.secretKeys[0]!.secretKey).toString("base64")]) {
      expect(text.replaceAll(/"time":\d+|"pid":\d+/g, "")).not.toContain(secret);
    }
  });
});

describe("with a key per gateway", () => {
  let plant: FixturePlant;
  beforeAll(async () => {
    plant = await openFixturePlant({ scheme: "bgv", keyMode: "symmetric", leases });
  });
  afterAll(() => plant[Symbol.asyncDispose]());
  const frame = (gateway: string, sequence: number, machine: string) => ({
    gateway,
    sequence,
    frameTimeMs: sequence,
    windows: { [machine]: features(sequence) },
  });

  it("decrypts each gateway's scores with its own key", async () => {
    await using opened = await openConsole(plant);
    await opened.deliver(plant.score(1, [frame("g1", 1, "m0")]), plant.score(1, [frame("g2", 2, "m9")]));
    expect(opened.risks.map(({ machine, score }) => [machine, score])).toEqual([
      ...plant.plainScores(1, features(1)).map((score) => ["m0", score]),
      ...plant.plainScores(1, features(2)).map((score) => ["m9", score]),
    ]);
  });

  it("refuses a gateway's part under the key of another", async () => {
    await using opened = await openConsole(plant);
    const other = plant.secretKeys.find(({ gateway }) => gateway === "g2")!.keyId;
    await opened.deliver(plant.score(0, [frame("g1", 1, "m0")], { gateway: (score) => ({ ...score, keyId: other }) }));
    expect(opened.service.counters()).toMatchObject({ risks: 0, refused: { SCORE_MISMATCH: 1 } });
  });

  it("finds no key when those it has are of the other mode or of other parameters", async () => {
    const plantWide = plant.secretKeys.map((key) => ({ ...key, gateway: null }));
    await expect(openDecryptionKeys(plant.deployment, plantWide)).rejects.toMatchObject({ code: "KEY_MISMATCH" });
    const others = plant.secretKeys.map((key) => ({ ...key, paramsId: "1".repeat(64) }));
    await expect(openDecryptionKeys(plant.deployment, others)).rejects.toMatchObject({ code: "KEY_MISMATCH" });
  });
});
