import { createPublicKey, generateKeyPairSync, hash, type KeyObject } from "node:crypto";
import { generateKeyPair } from "@smile/custody/keys";
import type { ZeroSource } from "@smile/he/backend";
import { encodeLanes, packLanes } from "@smile/he/lanes";
import { openEncryptor, openEvaluator } from "@smile/he/open";
import { type KeyMode, paramsId, type Scheme } from "@smile/he/params";
import { type IntegerHead, type Plan, plan } from "@smile/he/planner";
import { type PreparedHead, prepareHead, scoreBatch } from "@smile/he/scoring";
import { mergeFrames } from "@smile/he/wire";
import { type Deployment, documentId, type Lease, type ModelCard } from "@smile/schemas/documents";
import { type Gap, gapCodec, type Part, type Score, scoreCodec } from "@smile/schemas/envelopes";
import { paramsToDocument } from "@smile/schemas/params-document";
import { RegisteredPlant } from "@smile/schemas/registered-plant";
import { signFrame, signGap, signScore } from "@smile/schemas/signing";
import { fixturePlant, type FixturePlant as Registration } from "../../schemas/test/fixture-register.ts";
import type { SecretKey } from "../src/decryption-keys.ts";
import type { Trust } from "../src/verification.ts";

export const PLANT = "essen";
const FEATURES = 256; // 8 lanes, so that a few machines fill several blocks

/** The windows of one gateway at one time: features by machine. */
export type FixtureFrame = {
  readonly gateway: string;
  readonly epoch?: number;
  readonly sequence: number;
  readonly frameTimeMs: number;
  readonly windows: Readonly<Record<string, Int32Array>>;
};

export type FixtureKeyPair = {
  readonly gateway: string | null;
  readonly keyId: string;
  readonly secretKey: Uint8Array;
  readonly publicKey: Uint8Array;
};

/** What is wrong with a score, by who did it: before gateways signed their parts, before the service signed, or on the way to the plant. */
export type Lies = Partial<Record<"gateway" | "service" | "carrier", (score: Score) => Score>>;

/** A plant with its deployment, leases and keys, and the service's side of it: what turns windows into encrypted scores. */
export type FixturePlant = AsyncDisposable & {
  readonly deployment: Deployment;
  readonly leases: readonly Lease[];
  readonly secretKeys: readonly SecretKey[];
  readonly registration: Registration;
  readonly scoreSigner: KeyObject;
  /** The plant's register as it was made, and the service's signer. */
  readonly trust: Trust;
  /** A gateway's signature over a gap. */
  gap(gap: Omit<Gap, "signature" | "plant">): Buffer;
  /** One Score envelope by one head over frames of one block, merged; signed by its gateways and the service. */
  score(headIndex: number, frames: readonly FixtureFrame[], lies?: Lies): Buffer;
  /** The integer scores of each output, computed in plaintext. */
  plainScores(headIndex: number, features: Int32Array): number[];
};

/** Features of a window, small and different for each seed. */
export function features(seed: number): Int32Array {
  return Int32Array.from({ length: FEATURES }, (_, f) => ((seed * 31 + f * 17 + ((seed * f) % 7) * 5) % 15) - 7);
}

/** Head 0 has one output and a logistic link, head 1 has two outputs and speaks of remaining life. */
export async function openFixturePlant(options: {
  scheme: Scheme;
  keyMode: KeyMode;
  leases: readonly Lease[];
  /** Default PLANT. */
  plant?: string;
  /** Keys that exist already, instead of fresh ones. */
  keyPairs?: readonly FixtureKeyPair[];
  /** The same plant before a change of keys: its gateways and its service sign with the keys of before. */
  successorOf?: FixturePlant;
}): Promise<FixturePlant> {
  const { scheme, keyMode, leases, plant = PLANT } = options;
  const weights = (seed: number) => Array.from({ length: FEATURES }, (_, f) => ((seed * 13 + f * 7) % 21) - 10);
  const heads: IntegerHead[] = [
    { weights: [weights(1)], bias: [50] },
    { weights: [weights(2), weights(3)], bias: [-7, 9] },
  ];
  const planned = plan({ scheme, featureCount: FEATURES, featureBits: 5, heads, keyMode, maxMerges: 4, modelPrivacy: "compact" });
  const deployment = makeDeployment(planned, heads);
  const id = paramsId(planned.params);

  await using opened = new AsyncDisposableStack();
  const evaluator = opened.use(await openEvaluator(planned.params));
  const owners = keyMode === "public" ? [null] : [...new Set(leases.map(({ gateway }) => gateway))];
  const keys = new Map<string | null, { keyId: string; secretKey: Uint8Array; publicKey: Uint8Array; zeros: ZeroSource }>();
  for (const owner of owners) {
    const pair = options.keyPairs?.find(({ gateway }) => gateway === owner) ?? (await generateKeyPair(planned.params));
    keys.set(owner, { ...pair, zeros: opened.use(evaluator.openZeros(pair.publicKey)) });
  }
  const encryptors = new Map<string, Awaited<ReturnType<typeof openEncryptor>>>();
  for (const gateway of new Set(leases.map((lease) => lease.gateway))) {
    const { secretKey, publicKey } = keys.get(keyMode === "public" ? null : gateway)!;
    const key = keyMode === "public" ? ({ mode: "public", bytes: publicKey } as const) : ({ mode: "symmetric", bytes: secretKey } as const);
    encryptors.set(gateway, opened.use(await openEncryptor(planned.params, key)));
  }
  const prepared: PreparedHead[] = heads.map((head, i) =>
    opened.use(
      prepareHead(evaluator, {
        ...head,
        headId: deployment.cards[i]!.headId,
        params: planned.params,
        keyMode,
        featureCount: FEATURES,
        floodBits: planned.floodBits,
      }),
    ),
  );
  const laneOf = (gateway: string, machine: string) => {
    const lease = leases.find((each) => each.gateway === gateway && each.machines.includes(machine));
    return (lease?.firstLane ?? 0) + (lease?.machines.indexOf(machine) ?? 0);
  };

  const registered = fixturePlant({
    plant,
    gateways: [...encryptors.keys()].map((gateway) => ({ gateway })),
    keys: [...keys].map(([gateway, { keyId, publicKey }]) => ({ paramsId: id, keyId, publicKey, gateway })),
  });
  const before = options.successorOf;
  const registration = { ...registered, signingKeys: before?.registration.signingKeys ?? registered.signingKeys };
  const scoreSigner = before?.scoreSigner ?? generateKeyPairSync("ed25519").privateKey;
  const unsigned = new Uint8Array(0);

  const owned = opened.move();
  return {
    deployment,
    leases,
    secretKeys: [...keys].map(([gateway, { keyId, secretKey }]) => ({ gateway, paramsId: id, keyId, keyEpoch: 1, secretKey })),
    registration,
    scoreSigner,
    trust: { plant: new RegisteredPlant(registration.register), scoreSigners: [createPublicKey(scoreSigner)] },
    gap: (gap) => gapCodec.encode(signGap({ ...gap, plant }, registration.signingKeys.get(gap.gateway)!)),
    score(headIndex, frames, lies = {}) {
      const packed = frames.map((frame) => {
        const entries = Object.entries(frame.windows).map(([machine, values]) => {
          const global = laneOf(frame.gateway, machine);
          return { lane: global % planned.lanes, block: Math.floor(global / planned.lanes), features: values };
        });
        const ciphertext = encryptors.get(frame.gateway)!.encrypt(packLanes(entries, planned.params.n, FEATURES));
        const part: Part = {
          gateway: frame.gateway,
          epoch: frame.epoch ?? 1,
          sequence: frame.sequence,
          block: entries[0]!.block,
          lanes: encodeLanes(
            entries.map(({ lane }) => lane),
            planned.lanes,
          ),
          frameTimeMs: frame.frameTimeMs,
          closedAtMs: frame.frameTimeMs + 5,
          jobId: null,
          frameCount: null,
          ciphertextHash: hash("sha256", ciphertext),
          signature: unsigned,
        };
        return { part, ciphertext, lanes: entries.map(({ lane }) => lane) };
      });
      const lanes = packed.flatMap((each) => each.lanes).sort((a, b) => a - b);
      const ciphertexts = packed.map(({ ciphertext }) => ciphertext);
      const ciphertext = keyMode === "public" ? mergeFrames(planned.params, ciphertexts) : ciphertexts[0]!;
      const { keyId, zeros } = keys.get(keyMode === "public" ? null : frames[0]!.gateway)!;
      const head = prepared[headIndex]!;
      const { gateway = same, service = same, carrier = same } = lies;
      const sealed = gateway({
        plant,
        scheme,
        keyMode,
        paramsId: id,
        keyId,
        featureSetId: documentId(deployment.featureSet),
        headId: head.head.headId,
        parts: packed.map(({ part }) => part),
        replies: scoreBatch(evaluator, head, ciphertext, lanes, zeros),
        signature: unsigned,
      });
      const signPart = (part: Part): Part => {
        const key = registration.signingKeys.get(part.gateway)!;
        return { ...part, signature: signFrame({ ...sealed, ...part, ciphertext: unsigned }, key).signature };
      };
      const answered = service({ ...sealed, parts: sealed.parts.map(signPart) });
      return scoreCodec.encode(carrier(signScore(answered, scoreSigner)));
    },
    plainScores: (headIndex, values) =>
      heads[headIndex]!.weights.map((row, k) => values.reduce((sum, value, f) => sum + value * row[f]!, heads[headIndex]!.bias[k]!)),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

const same = (score: Score) => score;

function makeDeployment(planned: Plan, heads: readonly IntegerHead[]): Deployment {
  const width = 4; // one sensor, four statistics; the rest are random Fourier features
  const featureSet: Deployment["featureSet"] = {
    kind: "feature-set",
    version: 1,
    name: "fixture",
    sensors: ["vibration"],
    window: { lengthMs: 1000, hopMs: 1000, latenessMs: 0 },
    regimes: null,
    lift: { kind: "statistics", statistics: ["mean", "last", "slope", "deviation"], minimumRows: 1 },
    standardise: { mean: Array(width).fill(0), deviation: Array(width).fill(1), clip: 4 },
    fourier: { seed: 1, width: FEATURES - width, bandwidth: 0.4 },
    quantise: { bits: 5 },
  };
  const card = (index: number, rest: Pick<ModelCard, "name" | "outputs" | "link" | "range" | "unit" | "alert" | "scale">): ModelCard => ({
    kind: "model-card",
    version: 1,
    headId: documentId({ weights: heads[index]!.weights.map((row) => Array.from(row)), bias: heads[index]!.bias }),
    featureSetId: documentId(featureSet),
    calibration: null,
    training: { data: "fixture", machines: 1, windows: 1, metrics: {} },
    codeVersion: "test",
    ...rest,
  });
  return {
    kind: "deployment",
    version: 1,
    featureSet,
    params: paramsToDocument(planned.params),
    keyMode: planned.keyMode,
    lanes: planned.lanes,
    maxMerges: planned.maxMerges,
    cards: [
      card(0, {
        name: "fails-soon",
        outputs: ["risk"],
        link: "logistic",
        range: null,
        unit: "probability",
        scale: 0.01,
        alert: { direction: "above", raise: 0.8, clear: 0.5 },
      }),
      card(1, {
        name: "life-left",
        outputs: ["median", "low"],
        link: "identity",
        range: [-1e6, 1e6],
        unit: "cycles",
        scale: 0.5,
        alert: { direction: "below", raise: 30, clear: 50 },
      }),
    ],
  };
}
