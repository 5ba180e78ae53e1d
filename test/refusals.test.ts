import { createHash, type KeyObject } from "node:crypto";
import { decodeLanes } from "@smile/he/lanes";
import { residueBits } from "@smile/he/params";
import { startModelService } from "@smile/model-service/service";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { deadLetterCodec, type Frame, scoreCodec } from "@smile/schemas/envelopes";
import { signFrame } from "@smile/schemas/signing";
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
    const revoked = "g7";
    const isRevoked = { state: "revoked" as const, untilMs: null };
    small.registry.replace(
      small.plant.next({
        gateways: small.plant.register.gateways.map(({ credentials, ...each }) => ({
          ...each,
          credentials: each.gateway === revoked ? credentials.map((one) => ({ ...one, ...isRevoked })) : credentials,
        })),
      }),
    );
    await using log = await openTemporaryLog({ logger });
    const { deployment, plan } = small.deployed;
    const services = { log, logger, partitions: 1 };
    await using processor = await startStreamProcessor({
      ...services,
      deployments: [deployment],
      plants: small.registry,
      frames: loopback,
      scores: loopback,
      limits: { lingerMs: 20, openPerKind: 4 },
    });
    await using models = await startModelService({
      ...services,
      deployments: [small.served],
      plants: small.registry,
      signingKey: small.scoreSigner,
      pool: { threads: 1 },
    });
    await using client = openMqtt({ url: processor.framesUrl, clientId: "g", logger });
    await client.ready();

    const good = [0, 1, 2, 3, 4].map((sequence) => ({ sequence, lane: sequence * 3, features: small.window(100 + sequence) }));
    const frames = good.map(({ sequence, lane, features }) => small.frame("g", sequence, [{ lane, features }]));
    const spoil = (change: Partial<Frame>): Buffer => small.encode(small.sign({ ...frames[0]!, sequence: 99, ...change }));
    const signedBy = (key: KeyObject, change: Partial<Frame> = {}) =>
      small.encode(signFrame({ ...frames[0]!, sequence: 99, ...change }, key));
    const own = small.plant.signingKeys.get("g")!;
    const forged = Uint8Array.from(frames[1]!.signature);
    forged[0]! ^= 1;
    const sealed = (ciphertext: Uint8Array, ciphertextHash = frames[0]!.ciphertextHash) => ({ ciphertext, ciphertextHash });
    const bits = residueBits(small.params);
    const aboveQ = frames[0]!.ciphertext.slice();
    aboveQ.fill(0xff, 0, Math.ceil(bits / 8));
    const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

    const hostile: [code: string, payload: Uint8Array, sender?: { plant?: string; gateway?: string }][] = [
      ["FRAME_WRONG_LENGTH", spoil(sealed(frames[0]!.ciphertext.subarray(1)))],
      ["FRAME_WRONG_LENGTH", spoil(sealed(Buffer.concat([frames[0]!.ciphertext, Buffer.from([0])])))],
      ["FRAME_WRONG_LENGTH", Buffer.alloc(70_000, 0x46)],
      ["RESIDUE_OUT_OF_RANGE", spoil(sealed(aboveQ, sha256(aboveQ)))],
      ["PARAMS_UNKNOWN", spoil({ paramsId: hash("a") })],
      ["FEATURE_SET_UNKNOWN", spoil({ featureSetId: hash("b") })],
      ["FEATURE_SET_UNKNOWN", spoil({ keyMode: "symmetric" })],
      ["FRAME_WRONG_HASH", spoil({ ciphertextHash: hash("c") })],
      ["FRAME_WRONG_SENDER", spoil({ gateway: "h" })],
      ["FRAME_WRONG_SENDER", signedBy(own, { plant: "other" })],
      ["PLANT_UNKNOWN", signedBy(own, { plant: "other" }), { plant: "other" }],
      ["SENDER_UNKNOWN", signedBy(own, { gateway: "stranger" }), { gateway: "stranger" }],
      ["SENDER_UNKNOWN", spoil({ gateway: revoked }), { gateway: revoked }],
      ["SIGNATURE_INVALID", small.encode({ ...frames[1]!, signature: forged })],
      ["SIGNATURE_INVALID", small.encode({ ...frames[1]!, signature: frames[0]!.signature })],
      ["SIGNATURE_INVALID", small.encode({ ...frames[1]!, signature: new Uint8Array(0) })],
      ["SIGNATURE_INVALID", small.encode({ ...frames[0]!, sequence: 99 })],
      ["SIGNATURE_INVALID", signedBy(small.plant.signingKeys.get("h")!)],
      ["SIGNATURE_INVALID", signedBy(own, { gateway: "h" }), { gateway: "h" }],
      ["LANES_INVALID", spoil({ block: 1 })],
      ["LANES_INVALID", spoil({ lanes: new Uint8Array(frames[0]!.lanes.length) })],
      ["LANES_INVALID", spoil({ lanes: frames[0]!.lanes.subarray(1) })],
      ["FRAME_MALFORMED", spoil({}).subarray(0, 50)],
      ["FRAME_MALFORMED", Buffer.from("not an envelope")],
      ["KEY_UNKNOWN", spoil({ keyId: hash("d") })],
    ];
    const framesOf = (from: number, to: number) =>
      frames.slice(from, to).map((frame) => ({ topic: framesTopic(PLANT, "g"), payload: small.encode(frame) }));
    const sent = [
      ...framesOf(0, 2),
      ...hostile.map(([, payload, { plant = PLANT, gateway = "g" } = {}]) => ({ topic: framesTopic(plant, gateway), payload })),
      ...framesOf(2, 5),
    ];
    // Every one is acknowledged: sent again, a refused frame would be the same.
    await Promise.all(sent.map(({ topic, payload }) => client.publish(topic, payload)));

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
    const expected: Record<string, number> = {};
    for (const [code] of hostile) expected[code] = (expected[code] ?? 0) + 1;
    expect(processor.counters.ingress.refused).toEqual(expected);
    expect(processor.counters.ingress.accepted).toBe(good.length);
    expect(models.counters.refused).toEqual({});
  });
});
