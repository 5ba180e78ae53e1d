import { hash } from "node:crypto";
import { openDecryptor } from "@smile/custody/decryptor";
import { generateKeyPair } from "@smile/custody/keys";
import { nearestSegment } from "@smile/features/records/nearest-segment";
import { encodeLanes, packLanes } from "@smile/he/lanes";
import { openEncryptor } from "@smile/he/open";
import { paramsId } from "@smile/he/params";
import { deploySegments } from "@smile/model-service/deploy-segments";
import type { ServedDeployment } from "@smile/model-service/served-heads";
import { integerSegment, segmentHead } from "@smile/model-service/training/segments/segment-head";
import { documentId } from "@smile/schemas/documents";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import type { SegmentDeployment } from "@smile/schemas/record-documents";
import { signFrame } from "@smile/schemas/signing";
import { type FixturePlant, fixturePlant } from "../../schemas/test/fixture-register.ts";

/** The gateway that every plant's records come from. */
export const RECORDS = "records";
const F = 4;
const centroids = [
  [60, 0, -40, 10],
  [-50, 30, 20, 0],
  [0, -70, 0, -60],
];

/** A segment deployment of four features and three groups, under the identity scheme, and organisations that send jobs for it. */
export type SmallSegments = Disposable & {
  readonly deployment: SegmentDeployment;
  readonly served: ServedDeployment;
  readonly plants: ReadonlyMap<string, FixturePlant>;
  /** Records in a frame. */
  readonly lanes: number;
  /** A whole frame of a job, signed by the plant's gateway of records; `change` is signed along. */
  frame(plant: string, sequence: number, frameCount: number, change?: Partial<Frame>): Buffer;
  /** The segments that the records of a frame must come back with. */
  segments(sequence: number): number[];
  /** The segments that a score's replies decrypt to. */
  decrypt(replies: readonly Uint8Array[]): number[];
};

export async function smallSegments(plantNames: readonly string[]): Promise<SmallSegments> {
  const numeric = (column: string) => ({ kind: "numeric" as const, column, mean: 0, deviation: 1, weight: 1 });
  const featureSet: SegmentDeployment["featureSet"] = {
    kind: "record-feature-set",
    version: 1,
    name: "small",
    columns: ["a", "b", "c", "d"].map(numeric),
    clip: 4,
    quantise: { bits: 8 },
  };
  const head = segmentHead(centroids, featureSet.quantise);
  const { deployment, heads } = deploySegments({
    ...{ featureSet, head, keyMode: "public", modelPrivacy: "compact", scheme: "identity" },
    card: {
      name: "small",
      segments: centroids.map((_, i) => ({ name: `${i}`, words: `group ${i}` })),
      training: { data: "none", records: 3, metrics: {} },
      codeVersion: "test",
    },
  });
  const params = paramsFromDocument(deployment.params);
  const keys = await generateKeyPair(params);
  const encryptor = await openEncryptor(params, { mode: "public", bytes: keys.publicKey });
  const decryptor = await openDecryptor(params, keys.secretKey, F, deployment.replies);
  const { lanes } = deployment;
  const registered = plantNames.map((plant) =>
    fixturePlant({
      plant,
      gateways: [{ gateway: RECORDS, lanes: { first: 0, count: lanes } }],
      keys: [{ paramsId: paramsId(params), keyId: keys.keyId, publicKey: keys.publicKey }],
    }),
  );
  const plants = new Map(plantNames.map((plant, i) => [plant, registered[i]!]));
  const all = Array.from({ length: lanes }, (_, lane) => lane);
  const featuresOf = (sequence: number, lane: number) =>
    Int32Array.from({ length: F }, (_, f) => ((37 * sequence + 91 * lane + 53 * f) % 255) - 127);
  return {
    deployment,
    served: { deployment, heads, modelPrivacy: "compact" },
    plants,
    lanes,
    frame(plant, sequence, frameCount, change = {}) {
      const entries = all.map((lane) => ({ lane, features: featuresOf(sequence, lane) }));
      const ciphertext = encryptor.encrypt(packLanes(entries, params.n, F));
      const frame = {
        ...{ plant, scheme: params.scheme, keyMode: "public" as const, paramsId: paramsId(params), keyId: keys.keyId },
        ...{ featureSetId: documentId(featureSet), gateway: RECORDS, epoch: 1, sequence, block: 0, jobId: "job-1", frameCount },
        lanes: encodeLanes(all, lanes),
        ...{ frameTimeMs: 1_790_000_000_000, closedAtMs: 1_790_000_000_000, ciphertextHash: hash("sha256", ciphertext), ciphertext },
        ...change,
      };
      return frameCodec.encode(signFrame(frame, plants.get(plant)!.signingKeys.get(RECORDS)!));
    },
    segments: (sequence) => all.map((lane) => integerSegment(head, featuresOf(sequence, lane))),
    decrypt(replies) {
      const outputs = replies.map((reply) => decryptor.decrypt(reply, all));
      return all.map((lane) => nearestSegment(outputs.map((scores) => scores[lane]!)));
    },
    [Symbol.dispose]: () => {
      encryptor[Symbol.dispose]();
      decryptor[Symbol.dispose]();
    },
  };
}
