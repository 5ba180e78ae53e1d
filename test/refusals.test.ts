import { createHash } from "node:crypto";
import { decodeLanes } from "@smile/he/lanes";
import { residueBits } from "@smile/he/params";
import { startModelService } from "@smile/model-service/service";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { deadLetterCodec, type Frame, scoreCodec } from "@smile/schemas/envelopes";
import { framesTopic, LOG_TOPICS } from "@smile/schemas/topics";
import { startStreamProcessor } from "@smile/stream-processor/service";
import { describe, expect, it } from "vitest";
import { collect } from "./support/collect.ts";
import { PLANT, smallDeployment } from "./support/small-deployment.ts";

const hash = (digit: string) => digit.repeat(64);
const loopback = { host: "127.0.0.1", port: 0 };

describe.each(["identity", "bgv"] as const)("hostile frames among good ones, scheme %s", (scheme) => {
  it("refuses each with its code, keeps it as a dead letter, and scores the neighbours exactly", async () => {
    const logger = silentLogger();
    using small = await smallDeployment({ scheme });
    await using log = await openTemporaryLog({ logger });
    const { deployment, plan } = small.deployed;
    const services = { log, logger, partitions: 1 };
    await using processor = await startStreamProcessor({
      ...services,
      deployments: [deployment],
      frames: loopback,
      scores: loopback,
      limits: { lingerMs: 20, openPerKind: 4 },
    });
    await using models = await startModelService({
      ...services,
      deployments: [small.served],
      keys: [small.publicKey],
      pool: { threads: 1 },
    });
    await using gateway = openMqtt({ url: processor.framesUrl, clientId: "g", logger });
    await gateway.ready();

    const good = [0, 1, 2, 3, 4].map((sequence) => ({ sequence, lane: sequence * 3, features: small.window(100 + sequence) }));
    const frames = good.map(({ sequence, lane, features }) => small.frame("g", sequence, [{ lane, features }]));
    const spoil = (change: Partial<Frame>): Buffer => small.encode({ ...frames[0]!, sequence: 99, ...change });
    const sealed = (ciphertext: Uint8Array, ciphertextHash = frames[0]!.ciphertextHash) => ({ ciphertext, ciphertextHash });
    const bits = residueBits(small.params);
    const aboveQ = frames[0]!.ciphertext.slice();
    aboveQ.fill(0xff, 0, Math.ceil(bits / 8));
    const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

    const hostile: [code: string, payload: Uint8Array][] = [
      ["FRAME_WRONG_LENGTH", spoil(sealed(frames[0]!.ciphertext.subarray(1)))],
      ["FRAME_WRONG_LENGTH", spoil(sealed(Buffer.concat([frames[0]!.ciphertext, Buffer.from([0])])))],
      ["FRAME_WRONG_LENGTH", Buffer.alloc(70_000, 0x46)],
      ["RESIDUE_OUT_OF_RANGE", spoil(sealed(aboveQ, sha256(aboveQ)))],
      ["PARAMS_UNKNOWN", spoil({ paramsId: hash("a") })],
      ["FEATURE_SET_UNKNOWN", spoil({ featureSetId: hash("b") })],
      ["FEATURE_SET_UNKNOWN", spoil({ keyMode: "symmetric" })],
      ["FRAME_WRONG_HASH", spoil({ ciphertextHash: hash("c") })],
      ["FRAME_WRONG_SENDER", spoil({ gateway: "h" })],
      ["FRAME_WRONG_SENDER", spoil({ plant: "other" })],
      ["LANES_INVALID", spoil({ lanes: new Uint8Array(frames[0]!.lanes.length) })],
      ["LANES_INVALID", spoil({ lanes: frames[0]!.lanes.subarray(1) })],
      ["FRAME_MALFORMED", spoil({}).subarray(0, 50)],
      ["FRAME_MALFORMED", Buffer.from("not an envelope")],
      ["KEY_UNKNOWN", spoil({ keyId: hash("d"), lanes: frames[4]!.lanes })],
    ];
    const payloads = [
      ...frames.slice(0, 2).map((frame) => small.encode(frame)),
      ...hostile.map(([, payload]) => payload),
      ...frames.slice(2).map((frame) => small.encode(frame)),
    ];
    // Every one is acknowledged: sent again, a refused frame would be the same.
    await Promise.all(payloads.map((payload) => gateway.publish(framesTopic(PLANT, "g"), payload)));

    const scores = await collect(log, LOG_TOPICS.scores, (records) => {
      return records.flatMap(({ value }) => scoreCodec.decode(value).parts).length >= good.length;
    });
    const seen = scores.flatMap(({ value }) => {
      const score = scoreCodec.decode(value);
      const lanes = score.parts.flatMap((part) => decodeLanes(part.lanes, plan.lanes)).sort((a, b) => a - b);
      const values = small.decrypt(score.replies[0]!, lanes);
      return score.parts.map((part) => ({
        sequence: part.sequence,
        score: values[lanes.indexOf(decodeLanes(part.lanes, plan.lanes)[0]!)]!,
      }));
    });
    expect(seen.toSorted((a, b) => a.sequence - b.sequence)).toEqual(
      good.map(({ sequence, features }) => ({ sequence, score: small.score(features) })),
    );

    const letters = await collect(log, LOG_TOPICS.deadLetters, (records) => records.length >= hostile.length);
    expect(letters.map(({ value }) => deadLetterCodec.decode(value).code).toSorted()).toEqual(hostile.map(([code]) => code).toSorted());
    const counted = { ...processor.counters.ingress.refused };
    for (const [code, count] of Object.entries(models.counters.refused)) counted[code] = (counted[code] ?? 0) + count;
    const expected: Record<string, number> = {};
    for (const [code] of hostile) expected[code] = (expected[code] ?? 0) + 1;
    expect(counted).toEqual(expected);
    expect(processor.counters.ingress.accepted).toBe(good.length + 1);
  });
});
