import { generateKeyPairSync, hash } from "node:crypto";
import { openDecryptor } from "@smile/custody/decryptor";
import { generateKeyPair } from "@smile/custody/keys";
import { featureCount } from "@smile/features/feature-count";
import { fitRecordFeatureSet } from "@smile/features/records/fit-record-feature-set";
import { nearestSegment } from "@smile/features/records/nearest-segment";
import { encodeRecord, RecordEncoder } from "@smile/features/records/record-encoder";
import { recordStep } from "@smile/features/records/record-features";
import { decodeLanes, encodeLanes, packLanes } from "@smile/he/lanes";
import { openEncryptor } from "@smile/he/open";
import { paramsId } from "@smile/he/params";
import { deploySegments } from "@smile/model-service/deploy-segments";
import { startModelService } from "@smile/model-service/service";
import { adjustedRandIndex } from "@smile/model-service/training/segments/adjusted-rand-index";
import { describeSegments } from "@smile/model-service/training/segments/describe-segments";
import { integerSegment, segmentHead } from "@smile/model-service/training/segments/segment-head";
import { trainSegments } from "@smile/model-service/training/segments/train-segments";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { documentId } from "@smile/schemas/documents";
import { frameCodec, scoreCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { isPartSigned, isScoreSigned, signFrame } from "@smile/schemas/signing";
import { jobFramesTopic, LOG_TOPICS } from "@smile/schemas/topics";
import { workforce } from "@smile/simulators/workforce/workforce";
import { workforceMapping } from "@smile/simulators/workforce/workforce-mapping";
import { startStreamProcessor } from "@smile/stream-processor/service";
import { expect, it } from "vitest";
import { fixturePlant } from "../schemas/test/fixture-register.ts";
import { collect } from "./support/collect.ts";

const K = 6;
const loopback = { host: "127.0.0.1", port: 0 };

it("a workforce's records go through the pipeline of machine windows as one job, and every segment is the integer head's", async () => {
  const people = [...workforce({ seed: 3, employees: 1500 })];
  const { featureSet } = fitRecordFeatureSet(
    workforceMapping,
    people.map(({ record }) => record),
  );
  const encoder = new RecordEncoder(featureSet);
  const real = people.map(({ record }) => {
    const out = new Float64Array(encoder.width);
    encoder.standardise(record, out);
    return out;
  });
  const fit = trainSegments({ features: real, k: K, seed: 1 });
  const centroids = fit.centroids.map((centroid) => centroid.map((value) => value / recordStep(featureSet)));
  const head = segmentHead(centroids, featureSet.quantise);
  const segments = describeSegments(featureSet, centroids, fit.sizes).map(({ segment, words }) => ({ name: `${segment}`, words }));
  const training = { data: "simulated workforce", records: people.length, metrics: {} };
  const { deployment, heads } = deploySegments({
    ...{ featureSet, head, keyMode: "public", modelPrivacy: "compact" },
    card: { name: "workforce", segments, training, codeVersion: "test" },
  });

  const params = paramsFromDocument(deployment.params);
  const features = featureCount(deployment.featureSet);
  const keys = await generateKeyPair(params);
  const plant = fixturePlant({
    plant: "hr",
    gateways: [{ gateway: "records", lanes: { first: 0, count: deployment.lanes } }],
    keys: [{ paramsId: paramsId(params), keyId: keys.keyId, publicKey: keys.publicKey }],
  });
  const scoreSigner = generateKeyPairSync("ed25519");
  const logger = silentLogger();
  await using log = await openTemporaryLog({ logger });
  const services = { log, logger, partitions: 1, plants: new FixedRegistry([plant.register]) };
  await using processor = await startStreamProcessor({
    ...services,
    ...{ deployments: [deployment], frames: loopback, scores: loopback, limits: { lingerMs: 20, openPerKind: 4 } },
  });
  await using _models = await startModelService({
    ...services,
    ...{ deployments: [{ deployment, heads, modelPrivacy: "compact" }], signingKey: scoreSigner.privateKey, pool: { threads: 1 } },
  });
  await using gateway = openMqtt({ url: processor.framesUrl, clientId: "records", logger });
  await gateway.ready();

  using encryptor = await openEncryptor(params, { mode: "public", bytes: keys.publicKey });
  const integers = people.map(({ record }) => encodeRecord(featureSet, record).features);
  const frameCount = Math.ceil(people.length / deployment.lanes);
  const sent = Array.from({ length: frameCount }, (_, sequence) => {
    const own = integers.slice(sequence * deployment.lanes, (sequence + 1) * deployment.lanes);
    const ciphertext = encryptor.encrypt(
      packLanes(
        own.map((each, lane) => ({ lane, features: each })),
        params.n,
        features,
      ),
    );
    const frame = signFrame(
      {
        ...{ plant: "hr", scheme: params.scheme, keyMode: "public", paramsId: paramsId(params), keyId: keys.keyId },
        ...{ featureSetId: documentId(featureSet), gateway: "records", epoch: 1, sequence, block: 0, jobId: "job-1", frameCount },
        lanes: encodeLanes([...own.keys()], deployment.lanes),
        ...{ frameTimeMs: 1_790_000_000_000, closedAtMs: 1_790_000_000_000, ciphertextHash: hash("sha256", ciphertext), ciphertext },
      },
      plant.signingKeys.get("records")!,
    );
    return gateway.publish(jobFramesTopic("hr", "records"), frameCodec.encode(frame));
  });
  await Promise.all(sent);

  const scores = await collect(log, LOG_TOPICS.jobScores, (records) => records.length >= frameCount);
  using decryptor = await openDecryptor(params, keys.secretKey, features, deployment.replies);
  const found = new Map<number, number>();
  for (const { value } of scores) {
    const score = scoreCodec.decode(value);
    const [part] = score.parts;
    expect(isScoreSigned(score, [scoreSigner.publicKey])).toBe(true);
    expect(isPartSigned(score, part!, [plant.signingKeys.get("records")!])).toBe(true);
    expect([score.parts.length, part!.jobId, part!.frameCount]).toEqual([1, "job-1", frameCount]);
    const lanes = decodeLanes(part!.lanes, deployment.lanes);
    const outputs = score.replies.map((reply) => decryptor.decrypt(reply, lanes));
    expect(outputs).toHaveLength(K);
    lanes.forEach((lane, i) => {
      const index = part!.sequence * deployment.lanes + lane;
      expect(found.has(index)).toBe(false);
      found.set(index, nearestSegment(outputs.map((scoresOfOutput) => scoresOfOutput[i]!)));
    });
  }
  const answered = people.map((_, index) => found.get(index));
  expect(answered).toEqual(integers.map((each) => integerSegment(head, each)));
  expect(
    adjustedRandIndex(
      answered as number[],
      people.map(({ segment }) => segment),
    ),
  ).toBeGreaterThanOrEqual(0.95);
});
