import { readFileSync, renameSync } from "node:fs";
import { PassThrough } from "node:stream";
import { activateEpoch, addEpoch, type Keystore, readKeystore } from "@smile/custody/keystore";
import { openAuditLog, readAudit } from "@smile/runtime/audit-log";
import { createLogger, silentLogger } from "@smile/runtime/logging";
import { scoreCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { RegisteredPlant } from "@smile/schemas/registered-plant";
import { afterAll, beforeAll, expect, it } from "vitest";
import { KeystoreKeys } from "../src/keystore-keys.ts";
import { openConsole } from "./fixture-console.ts";
import { type FixtureFiles, PASSPHRASE, writeFixtureFiles } from "./fixture-files.ts";
import { type FixturePlant, features, openFixturePlant, PLANT } from "./fixture-plant.ts";

const leases = [{ gateway: "g1", firstLane: 0, machines: ["m0", "m1"] }];
const DAY = 86_400_000;

let old: FixturePlant;
/** The same plant after a change of keys: its gateways, service and deployment are those of `old`. */
let fresh: FixturePlant;
let rotated: Keystore;
beforeAll(async () => {
  old = await openFixturePlant({ scheme: "bgv", keyMode: "public", leases });
  const files = await writeFixtureFiles(old, "mqtt://127.0.0.1:1");
  rotated = await addEpoch(files.keystore, paramsFromDocument(old.deployment.params), "public", [], 0);
  const next = rotated.keys.find(({ keyEpoch }) => keyEpoch === 2)!;
  const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));
  const pair = { gateway: null, keyId: next.keyId, secretKey: bytes(next.secretKey), publicKey: bytes(next.publicKey) };
  fresh = await openFixturePlant({ scheme: "bgv", keyMode: "public", leases, successorOf: old, keyPairs: [pair] });
});
afterAll(async () => {
  await old[Symbol.asyncDispose]();
  await fresh[Symbol.asyncDispose]();
});

const score = (by: FixturePlant, sequence: number) =>
  by.score(0, [{ gateway: "g1", sequence, frameTimeMs: sequence, windows: { m0: features(sequence) } }]);
const keyIdOf = (plant: FixturePlant) => plant.secretKeys[0]!.keyId;
/** The register that lists both keys. */
const bothListed = () => {
  const keys = [old, fresh].flatMap(({ registration }) => registration.register.keys);
  return { ...old.trust, plant: new RegisteredPlant(old.registration.next({ keys })) };
};

/** Keys out of files, in a console on a link in memory, at a time that the test sets. */
async function openKeys(files: FixtureFiles, clock = { nowMs: 0 }, { deployment = old.deployment, logger = silentLogger() } = {}) {
  await using opened = new AsyncDisposableStack();
  const audit = opened.use(openAuditLog({ path: files.auditPath, actor: "test" }));
  let readings = 0;
  const keys = opened.use(
    await KeystoreKeys.open({
      ...{ path: files.keystorePath, plant: PLANT, deployment, logger, audit, cost: 2 ** 10 },
      now: () => clock.nowMs,
      passphrase: async () => {
        readings++;
        return PASSPHRASE;
      },
    }),
  );
  const actions = () => [...readAudit(files.auditPath)].map(({ action, facts }) => [action, facts.keyEpoch ?? facts.keyEpochs]);
  const owned = opened.move();
  return { keys, actions, readings: () => readings, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

it("loses no window to a change of keys: a score under a key that it does not know yet waits until the keystore is read, in its order", async () => {
  const files = await writeFixtureFiles(old, "mqtt://127.0.0.1:1");
  await using opened = await openKeys(files);
  const trust = bothListed();
  let looked = Promise.resolve();
  const reread = () => {
    looked = opened.keys.refresh();
    return looked;
  };
  await using console = await openConsole(old, { keys: opened.keys, trust: () => trust, reread });
  await console.deliver(score(old, 1), score(old, 2));
  await files.writeKeystore(rotated);
  await console.deliver(score(old, 3), score(fresh, 4), score(old, 5));
  await console.deliver(score(fresh, 6));
  await looked;
  await console.deliver(score(old, 7));
  expect(console.risks.map(({ sequence, score }) => [sequence, score])).toEqual(
    [1, 2, 3, 4, 5, 6, 7].map((sequence) => [sequence, old.plainScores(0, features(sequence))[0]]),
  );
  expect(console.service.counters()).toMatchObject({ refused: {}, duplicates: 0, earlyDeliveries: 0 });
  expect(opened.readings()).toBe(2);
  expect(opened.actions()).toEqual([
    ["keystore-opened", "1"],
    ["key-used", 1],
    ["keystore-opened", "1,2"],
    ["key-used", 2],
  ]);
});

it("keeps its cursor before a score whose key the register lists and the keystore lacks, says so, and goes on once it is there", async () => {
  const files = await writeFixtureFiles(old, "mqtt://127.0.0.1:1");
  await using opened = await openKeys(files);
  const trust = bothListed();
  await using console = await openConsole(old, { keys: opened.keys, trust: () => trust, reread: () => opened.keys.refresh() });
  await console.deliver(score(old, 1), score(fresh, 2), score(old, 3));
  await console.settled();
  expect(console.risks.map(({ sequence }) => sequence)).toEqual([1]);
  expect(console.service.awaitedKey()).toBe(keyIdOf(fresh));
  expect(console.service.counters().refused).toEqual({});
  expect(console.store.cursor.next).toBe(1);
  await files.writeKeystore(rotated);
  await console.deliverFrom(1, score(fresh, 2), score(old, 3));
  await opened.keys.refresh();
  await console.settled();
  expect(console.risks.map(({ sequence }) => sequence)).toEqual([1, 2, 3]);
  expect(console.service.awaitedKey()).toBeUndefined();
});

it("refuses a score under a key that neither the keystore nor the register knows", async () => {
  const files = await writeFixtureFiles(old, "mqtt://127.0.0.1:1");
  await using opened = await openKeys(files);
  await using console = await openConsole(old, { keys: opened.keys, reread: () => opened.keys.refresh() });
  await console.deliver(score(fresh, 1), score(old, 2));
  await console.settled();
  expect(console.risks.map(({ sequence }) => sequence)).toEqual([2]);
  expect(console.service.counters().refused).toEqual({ KEY_UNKNOWN: 1 });
});

it("decrypts under an old epoch until its retention ends, then destroys it: decryptor, file, record", async () => {
  const files = await writeFixtureFiles(old, "mqtt://127.0.0.1:1");
  const clock = { nowMs: 5000 };
  await files.writeKeystore(activateEpoch(rotated, { retainMs: DAY, nowMs: clock.nowMs }));
  await using opened = await openKeys(files, clock);
  const trust = bothListed(); // lists the old key still: a register that came late must not hold the console up
  await using console = await openConsole(old, { keys: opened.keys, trust: () => trust, reread: () => opened.keys.refresh() });
  const held = opened.keys.find(keyIdOf(old));
  clock.nowMs += DAY - 1;
  await opened.keys.refresh();
  await console.deliver(score(old, 1));
  clock.nowMs += 1;
  expect(opened.keys.find(keyIdOf(old))).toBe("destroyed"); // not one millisecond longer, whenever the files are looked at
  await opened.keys.refresh();
  await console.deliver(score(old, 2), score(fresh, 3));
  await console.settled();
  expect(console.risks.map(({ sequence }) => sequence)).toEqual([1, 3]);
  expect(console.service.counters().refused).toEqual({ KEY_UNKNOWN: 1 });
  if (typeof held !== "object") throw new Error("the old key was not open");
  const { replies } = scoreCodec.decode(score(old, 1));
  expect(() => held.decryptor.decrypt(replies[0]!, [0])).toThrow(); // its memory is given back

  const left = await readKeystore(files.keystorePath, PASSPHRASE);
  expect(left.keys.map(({ keyEpoch }) => keyEpoch)).toEqual([2]);
  expect(left.destroyed).toMatchObject([{ keyEpoch: 1, keyId: keyIdOf(old), destroyedAtMs: clock.nowMs }]);
  expect(opened.actions()).toEqual([
    ["keystore-opened", "1,2"],
    ["key-used", 1],
    ["key-destroyed", 1],
    ["key-used", 2],
  ]);
});

it("destroys at the start what ended while it was not running, and never opens it", async () => {
  const files = await writeFixtureFiles(old, "mqtt://127.0.0.1:1");
  await files.writeKeystore(activateEpoch(rotated, { retainMs: DAY, nowMs: 0 }));
  await using opened = await openKeys(files, { nowMs: 2 * DAY });
  expect(opened.keys.find(keyIdOf(old))).toBe("destroyed");
  expect(opened.keys.find(keyIdOf(fresh))).toBeTypeOf("object");
  expect((await readKeystore(files.keystorePath, PASSPHRASE)).keys).toHaveLength(1);
  expect(opened.actions()).toEqual([
    ["key-destroyed", 1],
    ["keystore-opened", "2"],
  ]);
});

it("uses a key no longer than its retention even when the file cannot be read then, and destroys it once it can", async () => {
  const files = await writeFixtureFiles(old, "mqtt://127.0.0.1:1");
  const clock = { nowMs: 0 };
  await files.writeKeystore(activateEpoch(rotated, { retainMs: DAY, nowMs: 0 }));
  await using opened = await openKeys(files, clock);
  const away = `${files.keystorePath}.away`;
  renameSync(files.keystorePath, away);
  clock.nowMs = DAY;
  await opened.keys.refresh();
  expect(opened.keys.find(keyIdOf(old))).toBe("destroyed");
  expect(opened.keys.find(keyIdOf(fresh))).toBeTypeOf("object");
  renameSync(away, files.keystorePath);
  await opened.keys.refresh();
  expect((await readKeystore(files.keystorePath, PASSPHRASE)).destroyed).toMatchObject([{ keyEpoch: 1 }]);
  expect(opened.actions()).toContainEqual(["key-destroyed", 1]);
});

it("warns at its start when scores are rounded, and not when they are exact", async () => {
  const files = await writeFixtureFiles(old, "mqtt://127.0.0.1:1");
  const warningsOf = async (replies: { bits: number; step: number }) => {
    const lines: string[] = [];
    const to = new PassThrough().on("data", (chunk) => lines.push(String(chunk)));
    await using _opened = await openKeys(
      files,
      { nowMs: 0 },
      { deployment: { ...old.deployment, replies }, logger: createLogger({ service: "test", to }) },
    );
    return lines.filter((line) => line.includes("scores are rounded")).length;
  };
  expect(await warningsOf({ bits: 35, step: 2 })).toBe(1);
  expect(await warningsOf({ bits: 35, step: 1 })).toBe(0);
});

it("keeps its keys when the keystore becomes another plant's or is damaged, and reads it no more than it changes", async () => {
  const files = await writeFixtureFiles(old, "mqtt://127.0.0.1:1");
  await using opened = await openKeys(files);
  for (let look = 0; look < 5; look++) await opened.keys.refresh();
  expect(opened.readings()).toBe(1);
  const sealed = readFileSync(files.keystorePath, "utf8");
  files.write("keystore.json", { ...JSON.parse(sealed), ciphertext: "" });
  await opened.keys.refresh();
  await opened.keys.refresh();
  expect(opened.readings()).toBe(2);
  expect(opened.keys.find(keyIdOf(old))).toBeTypeOf("object");
});

it("does not hold up the event loop while it reads a keystore at its real cost", async () => {
  const files = await writeFixtureFiles(old, "mqtt://127.0.0.1:1");
  await using opened = await openKeys(files);
  await files.writeKeystore(rotated, 2 ** 15);
  let turns = 0;
  const reading = opened.keys.refresh().finally(() => {
    turns = -turns;
  });
  while (turns >= 0) {
    turns++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  await reading;
  expect(-turns).toBeGreaterThan(50);
  expect(opened.keys.find(keyIdOf(fresh))).toBeTypeOf("object");
});
