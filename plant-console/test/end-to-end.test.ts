import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { afterAll, beforeAll, expect, it } from "vitest";
import { openDecryptionKeys } from "../src/decryption-keys.ts";
import { logScoreLink } from "../src/log-score-link.ts";
import { mqttScoreLink, type OpenScoreLink } from "../src/score-link.ts";
import { startPlantConsole } from "../src/service.ts";
import { RiskStore, type StoredRisk } from "../src/store.ts";
import { type FixtureEgress, startFixtureEgress } from "./fixture-egress.ts";
import { type FixturePlant, features, openFixturePlant, PLANT } from "./fixture-plant.ts";

const leases = [
  { gateway: "g1", firstLane: 0, machines: ["m0", "m1"] },
  { gateway: "g2", firstLane: 2, machines: ["m2"] },
];
let bgv: FixturePlant;
beforeAll(async () => {
  bgv = await openFixturePlant({ scheme: "bgv", keyMode: "public", leases });
});
afterAll(() => bgv[Symbol.asyncDispose]());

/** A score over one window of each gateway, merged. */
const score = (sequence: number) =>
  bgv.score(0, [
    { gateway: "g1", sequence, frameTimeMs: sequence, windows: { m0: features(sequence), m1: features(sequence + 500) } },
    { gateway: "g2", sequence, frameTimeMs: sequence, windows: { m2: features(sequence + 900) } },
  ]);
const expected = (sequences: readonly number[]) =>
  sequences
    .flatMap((sequence) => [
      ["m0", sequence, bgv.plainScores(0, features(sequence))[0]],
      ["m1", sequence, bgv.plainScores(0, features(sequence + 500))[0]],
      ["m2", sequence, bgv.plainScores(0, features(sequence + 900))[0]],
    ])
    .map((each) => each.join(" "))
    .sort();
const found = (risks: readonly StoredRisk[]) => risks.map(({ machine, sequence, score }) => `${machine} ${sequence} ${score}`).sort();
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

const overMqtt = (egress: FixtureEgress) => mqttScoreLink({ url: egress.url, plant: PLANT, logger: silentLogger() });

async function connect({ openLink, store, onRisk }: { openLink: OpenScoreLink; store: RiskStore; onRisk?: () => void }) {
  const stack = new AsyncDisposableStack();
  const keys = stack.use(await openDecryptionKeys(bgv.deployment, bgv.secretKeys));
  const risks: StoredRisk[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const console = stack.use(
    await startPlantConsole({
      plant: PLANT,
      deployment: bgv.deployment,
      keys,
      trust: () => bgv.trust,
      leases,
      store,
      openLink,
      logger: silentLogger(),
      onRisk: (risk) => {
        risks.push(risk);
        for (const { count, resolve } of waiting) if (risks.length >= count) resolve();
        onRisk?.();
      },
      resendMs: 200,
    }),
  );
  /** Resolves when that many risks were told of: later than the cursor behind them may have reached the broker. */
  const told = async (count: number) => {
    if (risks.length < count) await new Promise<void>((resolve) => waiting.push({ count, resolve }));
  };
  return { console, risks, told, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

it("turns encrypted scores into stored risks over MQTT, between the records of another plant", async () => {
  await using egress = await startFixtureEgress();
  using store = new RiskStore({ path: ":memory:", plant: PLANT });
  await egress.append([Buffer.from("of another plant")], "ulm");
  await egress.append(range(0, 10).map(score));
  await using opened = await connect({ openLink: overMqtt(egress), store });
  await egress.append([Buffer.from("of another plant")], "ulm");
  await egress.append(range(10, 20).map(score));
  await egress.storedUpTo(22);
  await opened.told(60);
  expect(found(opened.risks)).toEqual(expected(range(0, 20)));
  expect(store.counts().risks).toBe(60);
  expect(opened.console.counters()).toMatchObject({ refused: {}, unknownLanes: 0 });
});

it("loses and repeats nothing when the broker goes away in mid-stream and comes back", async () => {
  await using egress = await startFixtureEgress();
  using store = new RiskStore({ path: ":memory:", plant: PLANT });
  await using opened = await connect({ openLink: overMqtt(egress), store });
  await egress.append(range(0, 20).map(score));
  await egress.storedUpTo(1);
  await egress.restartBroker();
  await egress.append(range(20, 30).map(score));
  await egress.storedUpTo(30);
  await opened.told(90);
  expect(found(opened.risks)).toEqual(expected(range(0, 30)));
});

it("goes on at its stored cursor after a stop", async () => {
  await using egress = await startFixtureEgress();
  using store = new RiskStore({ path: ":memory:", plant: PLANT });
  {
    await using first = await connect({ openLink: overMqtt(egress), store });
    await egress.append(range(0, 5).map(score));
    await egress.storedUpTo(5);
    await first.told(15);
    expect(first.risks).toHaveLength(15);
  }
  await using second = await connect({ openLink: overMqtt(egress), store });
  await egress.append(range(5, 8).map(score));
  await egress.storedUpTo(8);
  await second.told(9);
  expect(found(second.risks)).toEqual(expected(range(5, 8)));
  expect(second.console.counters()).toMatchObject({ duplicates: 0 });
});

it("begins anew with a log that was made anew, and stores once what that holds of before", async () => {
  using store = new RiskStore({ path: ":memory:", plant: PLANT });
  {
    await using egress = await startFixtureEgress();
    await using first = await connect({ openLink: overMqtt(egress), store });
    await egress.append(range(0, 5).map(score));
    await egress.storedUpTo(5);
    await first.told(15);
    expect(first.risks).toHaveLength(15);
  }
  await using egress = await startFixtureEgress();
  await egress.append(range(3, 12).map(score));
  await using second = await connect({ openLink: overMqtt(egress), store });
  await egress.storedUpTo(9);
  await second.told(21);
  expect(found(second.risks)).toEqual(expected(range(5, 12)));
  expect(second.console.counters()).toMatchObject({ duplicates: 6, refused: {} });
});

it("gets the same from the log itself, without MQTT, and goes on at its cursor", async () => {
  await using log = await openTemporaryLog({ logger: silentLogger() });
  await log.ensureTopics([{ name: LOG_TOPICS.scores, partitions: 2 }]);
  const append = (values: readonly Uint8Array[], key = PLANT) =>
    log.append(values.map((value) => ({ topic: LOG_TOPICS.scores, key, value })));
  using store = new RiskStore({ path: ":memory:", plant: PLANT });
  const openLink = logScoreLink({ log, plant: PLANT, logger: silentLogger() });
  const { promise: half, resolve: halfDone } = Promise.withResolvers<void>();
  const { promise: all, resolve: allDone } = Promise.withResolvers<void>();
  let told = 0;
  const onRisk = () => {
    told++;
    if (told === 30) halfDone();
    if (told === 60) allDone();
  };
  await append([Buffer.from("of another plant")], "ulm");
  await append(range(0, 10).map(score));
  {
    await using opened = await connect({ openLink, store, onRisk });
    await half;
    expect(found(opened.risks)).toEqual(expected(range(0, 10)));
  }
  await append(range(10, 20).map(score));
  await using opened = await connect({ openLink, store, onRisk });
  await all;
  expect(found(opened.risks)).toEqual(expected(range(10, 20)));
  expect(opened.console.counters()).toMatchObject({ refused: {}, duplicates: 0 });
});
