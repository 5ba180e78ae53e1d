import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { decodeLanes, scorePosition } from "@smile/he/lanes";
import { setResidue } from "@smile/he/residues";
import { decodeReply, encodeReply } from "@smile/he/wire";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import type { Log } from "@smile/runtime/log";
import { silentLogger } from "@smile/runtime/logging";
import { startBroker } from "@smile/runtime/mqtt-broker";
import { type CursorMessage, encodeCursor, parseCursor } from "@smile/schemas/cursor";
import { deliveryCodec, type Score } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { cursorTopic, LOG_TOPICS, scoresTopic } from "@smile/schemas/topics";
import { afterAll, beforeAll, describe, expect, expectTypeOf, it, vi } from "vitest";
import type { ConsoleCounters } from "../src/counts.ts";
import { riskOf } from "../src/decide.ts";
import { logScoreLink } from "../src/log-score-link.ts";
import { mqttScoreLink, type ScoreLink } from "../src/score-link.ts";
import type { PlantConsoleOptions } from "../src/service.ts";
import type { StoredRisk } from "../src/store.ts";
import { leases, openConsole } from "./fixture-console.ts";
import { type FixturePlant, features, openFixturePlant, PLANT } from "./fixture-plant.ts";
import type { RecorderData, RecorderMessage } from "./fixture-recorder.ts";

let plant: FixturePlant;
/** Seeds of windows whose risk raises an alert of head 0, and of such that clear it. */
let high: number[];
let low: number[];
beforeAll(async () => {
  plant = await openFixturePlant({ scheme: "identity", keyMode: "public", leases });
  const [card] = plant.deployment.cards;
  const riskFor = (seed: number) => riskOf(plant.plainScores(0, features(seed))[0]!, card!);
  const seeds = Array.from({ length: 400 }, (_, seed) => seed);
  high = seeds.filter((seed) => riskFor(seed) > card!.alert.raise);
  low = seeds.filter((seed) => riskFor(seed) < card!.alert.clear);
});
afterAll(() => plant[Symbol.asyncDispose]());

/** What is decrypted: `seed` of the window's features by sequence, when it comes first and when it comes again, and what is done to it. */
type Values = {
  readonly seed: (sequence: number, again: boolean) => number;
  readonly spoil?: (score: Score) => Score;
};
const values = (): Record<string, Values> => ({
  "low risks": { seed: (sequence) => low[sequence % low.length]! },
  "high risks that raise and clear alerts": { seed: (sequence) => (sequence % 2 ? high : low)[sequence % 20]! },
  "garbage out of any model's range": { seed: (sequence) => low[sequence % low.length]!, spoil: garbled },
  "values that contradict": { seed: (sequence, again) => (again ? high : low)[sequence % 20]! },
});

/** The service answers with residues that mean nothing: they decrypt to anything below t. */
function garbled(score: Score): Score {
  const params = paramsFromDocument(plant.deployment.params);
  const width = params.n / plant.deployment.lanes;
  const lanes = score.parts.flatMap((part) => decodeLanes(part.lanes, plant.deployment.lanes)).sort((a, b) => a - b);
  const replies = score.replies.map((reply) => {
    const residues = decodeReply(params, reply, lanes, width);
    for (const lane of lanes) {
      const residue = (params.q * BigInt(1 + ((score.parts[0]!.sequence * 7919 + lane * 104_729) % 9973))) / 9974n;
      setResidue(residues.c0, scorePosition(lane, width), residue, params.q);
    }
    return encodeReply(params, residues, lanes, width);
  });
  return { ...score, replies };
}

const score = ({ seed, spoil = (score) => score }: Values, sequence: number, again = false) => {
  const windows = { m0: features(seed(sequence, again)), m1: features(seed(sequence + 1, again)) };
  return plant.score(0, [{ gateway: "g1", sequence, frameTimeMs: sequence, windows }], { service: spoil });
};

/** Deliveries in steps: their offsets and payloads. The same ids, whatever the values. */
function schedule(given: Values): { offset: number; payload: Uint8Array }[][] {
  let sequence = 0;
  let next = 0;
  const deliver = (bytes: Uint8Array, offset = next++) => ({ offset, payload: bytes });
  const fresh = (count: number) => Array.from({ length: count }, () => deliver(score(given, sequence++)));
  const range = { fromSequence: 500, toSequence: 501, frames: 2, windows: 4, fromTimeMs: 1, toTimeMs: 2 };
  const forge = (bytes: Uint8Array) => Buffer.concat([bytes.subarray(0, -1), Buffer.from([bytes.at(-1)! ^ 1])]);
  return [
    fresh(1),
    fresh(5),
    fresh(70),
    [deliver(score(given, 3, true)), deliver(score(given, 4, true))],
    [deliver(score(given, 2, true), 2)],
    [deliver(score(given, 99), next + 5)],
    [deliver(forge(score(given, 98))), deliver(plant.gap({ gateway: "g1", epoch: 1, ...range, reason: "age" }))],
    fresh(3),
  ];
}
const envelope = ({ offset, payload }: { offset: number; payload: Uint8Array }) =>
  deliveryCodec.encode({ topicId: "scores", partition: 0, from: offset, offset, score: payload });

/** Everything that a console sends over a link in memory, step by step. */
async function sentFor(given: Values, more: Partial<PlantConsoleOptions> = {}): Promise<{ sent: string[]; counters: ConsoleCounters }> {
  await using opened = await openConsole(plant, { resendMs: 3_600_000, ...more });
  const sent: string[] = [];
  let taken = 0;
  for (const step of schedule(given)) {
    // As a connection does: the next is handed over when there is room for it.
    void step.reduce((before, each) => before.then(() => opened.handlers.onDelivery(envelope(each))), Promise.resolve());
    await opened.settled();
    sent.push(
      opened.cursors
        .slice(taken)
        .map((cursor) => encodeCursor(cursor).toString())
        .join("\n"),
    );
    taken = opened.cursors.length;
  }
  return { sent, counters: opened.service.counters() };
}

describe("over a link", () => {
  it("sends the same, byte for byte and as often, whatever is decrypted", async () => {
    const runs = await Promise.all(Object.values(values()).map((each) => sentFor(each)));
    const [first, ...others] = runs.map(({ sent }) => sent);
    expect(first!.filter((each) => each.includes('"next":'))).not.toHaveLength(0);
    for (const other of others) expect(other).toEqual(first);
    // The runs were as different as they were meant to be.
    const [calm, alarmed, garbage, contradictory] = runs.map(({ counters }) => counters);
    expect(calm).toMatchObject({
      raised: 0,
      contradictions: 0,
      duplicates: 4,
      repeatedDeliveries: 1,
      earlyDeliveries: 1,
      refused: { SIGNATURE_INVALID: 1 },
    });
    expect(alarmed!.raised + alarmed!.cleared).toBeGreaterThan(50);
    expect(garbage!.raised).toBeGreaterThan(0);
    expect(contradictory).toMatchObject({ contradictions: 4, duplicates: 0 });
  });

  it("sends the same when a listener throws or dawdles at each high risk", async () => {
    const { "low risks": calm, "high risks that raise and clear alerts": alarmed } = values();
    const { sent } = await sentFor(calm!);
    const throws = () => {
      throw new Error("a sink is broken");
    };
    const dawdles = () => {
      const untilMs = performance.now() + 2;
      while (performance.now() < untilMs);
    };
    for (const listener of [throws, dawdles]) {
      const run = await sentFor(alarmed!, { onAlert: listener, onRisk: ({ risk }) => (risk > 0.8 ? listener() : undefined) });
      expect(run.counters.raised).toBeGreaterThan(20);
      expect(run.sent).toEqual(sent);
    }
  });
});

/** A console on a real broker, one delivery after the other, and each byte that it sends on its connection. */
async function sentToBroker(given: Values, onRisk: (risk: StoredRisk, offset: number, newest: Int32Array) => void = () => {}) {
  await using opened = new AsyncDisposableStack();
  // Packet identifiers begin anywhere; here always at the same place.
  const random = vi.spyOn(Math, "random").mockReturnValue(0.25);
  opened.defer(() => random.mockRestore());
  let heard = Promise.withResolvers<CursorMessage>();
  const broker = opened.use(
    await startBroker({
      port: 0,
      logger: silentLogger(),
      authorizePublish: async ({ topic, payload }) => {
        expect(topic).toBe(cursorTopic(PLANT));
        heard.resolve(parseCursor(payload));
      },
      authorizeSubscribe: async () => true,
    }),
  );
  const seen = new SharedArrayBuffer(4);
  const newest = new Int32Array(seen);
  const recorder = new Worker(join(import.meta.dirname, "fixture-recorder.ts"), {
    workerData: { brokerPort: broker.port, seen } satisfies RecorderData,
  });
  opened.defer(() => recorder.terminate().then(() => {}));
  const [{ port }] = (await once(recorder, "message")) as [{ port: number }];
  const first = heard.promise;
  let offset = 0;
  const console = await openConsole(plant, {
    resendMs: 3_600_000,
    openLink: mqttScoreLink({ url: `mqtt://127.0.0.1:${port}`, plant: PLANT, logger: silentLogger() }),
    onRisk: (risk) => onRisk(risk, offset, newest),
  });
  await first;
  for (const step of schedule(given)) {
    for (const each of step) {
      offset = each.offset;
      const isRepeated = offset < Number(console.store.cursor.next);
      const deliveries = console.service.counters().deliveries;
      heard = Promise.withResolvers();
      await broker.publish(scoresTopic(PLANT), envelope(each));
      if (!isRepeated) await heard.promise;
      await vi.waitUntil(() => console.service.counters().deliveries > deliveries, { interval: 1 });
      await console.settled();
    }
  }
  const { raised } = console.service.counters();
  const ended = once(recorder, "message") as Promise<[RecorderMessage]>;
  await console[Symbol.asyncDispose]();
  const [message] = await ended;
  if (!("sent" in message)) throw new Error("the recorder said something else");
  return { sent: message.sent.map((each) => Buffer.from(each).toString("latin1")), raised };
}

describe("over a real broker", () => {
  it("sends the same bytes on its connection, whatever is decrypted", async () => {
    const runs = [];
    for (const each of Object.values(values())) runs.push(await sentToBroker(each));
    const [first, ...others] = runs.map(({ sent }) => sent);
    expect(first).toHaveLength(1);
    expect(first![0]!.match(/"next":\d+/g)!.length).toBeGreaterThan(80);
    for (const other of others) expect(other).toEqual(first);
    expect(runs.map(({ raised }) => raised > 20)).toEqual([false, true, expect.any(Boolean), expect.any(Boolean)]);
  });

  it("has sent the cursor before a listener hears of the risk, so that one that blocks holds nothing back", async () => {
    const { "low risks": calm, "high risks that raise and clear alerts": alarmed } = values();
    const { sent } = await sentToBroker(calm!);
    const late: number[] = [];
    let blocked = 0;
    const run = await sentToBroker(alarmed!, ({ risk }, offset, newest) => {
      if (risk < 0.8) return;
      blocked++;
      // This thread stands still until the thread beside it has received the cursor behind this very delivery.
      for (let now = Atomics.load(newest, 0); now <= offset; now = Atomics.load(newest, 0)) {
        if (Atomics.wait(newest, 0, now, 5000) !== "timed-out") continue;
        late.push(offset);
        break;
      }
    });
    expect(blocked).toBeGreaterThan(50);
    expect(late).toEqual([]);
    expect(run.sent).toEqual(sent);
  });
});

describe("by construction", () => {
  it("takes no card under which a high score could not be stored, while a low one could", async () => {
    const { deployment } = plant;
    const withCard = (change: object) => ({ ...deployment, cards: deployment.cards.map((card) => ({ ...card, ...change })) });
    // 0 * Infinity is no number, and a console that cannot store a risk stops before its cursor.
    const asks = { scale: 1e305, calibration: { slope: 0, intercept: 0 } };
    await expect(openConsole(plant, { deployment: withCard(asks) })).rejects.toThrow(/infinite risks of some scores \[DOCUMENT_INVALID\]/);
    await using _console = await openConsole(plant, { deployment: withCard({ scale: 1e-305 }) });
  });

  it("has nothing to send with but a link that takes cursors", async () => {
    expectTypeOf<keyof ScoreLink>().toEqualTypeOf<"connected" | "sendCursor" | typeof Symbol.asyncDispose>();
    expectTypeOf<Parameters<ScoreLink["sendCursor"]>>().toEqualTypeOf<[CursorMessage]>();
    expect(Object.keys(await import("../src/score-link.ts"))).toEqual(["mqttScoreLink"]);
    expect(Object.keys(await import("../src/log-score-link.ts"))).toEqual(["logScoreLink"]);
    const cursor = { topicId: "scores", partition: 0, next: 1, resume: false };
    expect(parseCursor(Buffer.from(JSON.stringify(cursor)))).toEqual(cursor);
    expect(() => parseCursor(Buffer.from(JSON.stringify({ ...cursor, risk: 0.9 })))).toThrow();
  });

  it("imports what reaches the service in the two links alone, and sends in one place", () => {
    const folder = join(import.meta.dirname, "../src");
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
    const sources = files.map((name) => ({ name, text: readFileSync(join(folder, name), "utf8") }));
    const named = (pattern: RegExp) => sources.filter(({ text }) => pattern.test(text)).map(({ name }) => name);
    expect(named(/runtime\/mqtt-client/)).toEqual(["score-link.ts"]);
    expect(named(/\.publish\(/)).toEqual(["score-link.ts"]);
    expect(named(/runtime\/log"/)).toEqual(["log-score-link.ts"]);
    expect(named(/runtime\/log-config"/)).toEqual(["command.ts", "console-files.ts", "console-sources.ts"]);
    expect(named(/from "(node:(net|http|https|tls|dgram)|mqtt|kafkajs|aedes)"/)).toEqual([]);
    expect(sources.map(({ text }) => text.match(/\.publish\(/g)?.length ?? 0).reduce((a, b) => a + b)).toBe(1);
  });

  it("writes nothing to a log that it reads itself", async () => {
    await using log = await openTemporaryLog({ logger: silentLogger() });
    await log.ensureTopics([{ name: LOG_TOPICS.scores, partitions: 1 }]);
    const { "high risks that raise and clear alerts": alarmed } = values();
    const scores = Array.from({ length: 20 }, (_, sequence) => score(alarmed!, sequence));
    await log.append(scores.map((value) => ({ topic: LOG_TOPICS.scores, key: PLANT, value })));
    const asked = new Set<PropertyKey>();
    const watched = new Proxy(log, {
      get(target, name) {
        asked.add(name);
        const found = Reflect.get(target, name, target);
        return typeof found === "function" ? found.bind(target) : found;
      },
    }) satisfies Log;
    const { promise: all, resolve } = Promise.withResolvers<void>();
    let told = 0;
    await using _console = await openConsole(plant, {
      openLink: logScoreLink({ log: watched, plant: PLANT, logger: silentLogger() }),
      onRisk: () => void (++told === 40 && resolve()),
    });
    await all;
    expect([...asked].sort()).toEqual(["ends", "read", "topicId"]);
  });
});
