import { createHash, generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openDecryptor } from "@smile/custody/decryptor";
import { generateKeyPair, type KeyPair } from "@smile/custody/keys";
import type { FrameEncryptor } from "@smile/he/backend";
import { encodeLanes, packLanes } from "@smile/he/lanes";
import { openEncryptor } from "@smile/he/open";
import { type KeyMode, type Params, paramsId, type Scheme } from "@smile/he/params";
import { type Deployed, deploy } from "@smile/model-service/deploy";
import type { ServedDeployment } from "@smile/model-service/served-heads";
import { integerScores, type QuantisedHead } from "@smile/model-service/training/quantise-head";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { documentId, type PublicKey } from "@smile/schemas/documents";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { signFrame } from "@smile/schemas/signing";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";
import { type FixturePlant, fixturePlant } from "../../schemas/test/fixture-register.ts";

/** F of the small feature set: four sensors with four statistics each. */
export const F = 16;
export const PLANT = "plant";

/** Everything that a test of the services needs: a feature set, a head, keys and gateways that encrypt for them. */
export type SmallDeployment = Disposable & {
  readonly deployed: Deployed;
  readonly served: ServedDeployment;
  readonly params: Params;
  readonly keys: KeyPair;
  readonly publicKey: PublicKey;
  /** The plant's register and its gateways' signing keys. Gateway i has the lanes of block i. */
  readonly plant: FixturePlant;
  /** What the services look the plant up in. */
  readonly registry: FixedRegistry;
  /** What the model service signs scores with. */
  readonly scoreSigner: KeyObject;
  /** Features of a window, by seed. */
  window(seed: number): Int32Array;
  /** The integer score that the window must decrypt to, by one of the heads. */
  score(features: Int32Array, head?: number): number;
  /** A frame in the gateway's block, signed by it; with an empty signature where the gateway is a stranger. */
  frame(gateway: string, sequence: number, entries: readonly { lane: number; features: Int32Array }[]): Frame;
  /** The frame, signed anew by the gateway that it names: for one that was changed. */
  sign(frame: Frame): Frame;
  encode(frame: Frame): Buffer;
  /** The integer scores of a reply, in the order of its lanes. */
  decrypt(reply: Uint8Array, lanes: readonly number[]): number[];
};

export async function smallDeployment({
  scheme = "identity",
  keyMode = "public",
  headCount = 1,
  gateways = ["g", "h", ...Array.from({ length: 8 }, (_, i) => `g${i}`)],
}: {
  scheme?: Scheme;
  keyMode?: KeyMode;
  /** Heads on the one feature set, each with a card. */
  headCount?: number;
  /** Registered at the service. */
  gateways?: readonly string[];
} = {}): Promise<SmallDeployment> {
  const heads = Array.from({ length: headCount }, (_, i) => randomHead(i + 1));
  const deployed = deploy({
    featureSet: {
      kind: "feature-set",
      version: 1,
      name: "small",
      sensors: ["a", "b", "c", "d"],
      window: { lengthMs: 1000, hopMs: 1000, latenessMs: 0 },
      regimes: null,
      lift: { kind: "statistics", statistics: ["mean", "last", "slope", "deviation"], minimumRows: 2 },
      standardise: { mean: Array(F).fill(0), deviation: Array(F).fill(1), clip: 4 },
      fourier: null,
      quantise: { bits: 8 },
    },
    candidates: heads.map((head, i) => ({
      head,
      card: {
        name: `small ${i}`,
        outputs: ["risk"],
        calibration: null,
        link: "identity",
        range: null,
        unit: "score",
        alert: { direction: "above", raise: 100, clear: 50 },
        training: { data: "none", machines: 1, windows: 1, metrics: {} },
        codeVersion: "test",
      },
    })),
    keyMode,
    maxMerges: 8,
    modelPrivacy: "compact",
    scheme,
  });
  const params = paramsFromDocument(deployed.deployment.params);
  const keys = await generateKeyPair(params);
  const encryptor: FrameEncryptor = await openEncryptor(params, {
    mode: keyMode,
    bytes: keyMode === "public" ? keys.publicKey : keys.secretKey,
  });
  const decryptor = await openDecryptor(params, keys.secretKey, F, deployed.deployment.replies);
  const { lanes } = deployed.deployment;
  const plant = fixturePlant({
    plant: PLANT,
    gateways: gateways.map((gateway, i) => ({ gateway, lanes: { first: i * lanes, count: lanes } })),
    keys: [{ paramsId: paramsId(params), keyId: keys.keyId, publicKey: keys.publicKey }],
  });
  const sign = (frame: Frame): Frame => {
    const key = plant.signingKeys.get(frame.gateway);
    return key === undefined ? frame : signFrame(frame, key);
  };
  return {
    deployed,
    plant,
    registry: new FixedRegistry([plant.register]),
    scoreSigner: generateKeyPairSync("ed25519").privateKey,
    sign,
    served: { deployment: deployed.deployment, heads: deployed.heads, modelPrivacy: "compact" },
    params,
    keys,
    publicKey: {
      kind: "public-key",
      version: 1,
      plant: PLANT,
      gateway: null,
      paramsId: paramsId(params),
      keyId: keys.keyId,
      publicKey: Buffer.from(keys.publicKey).toString("base64"),
    },
    window: (seed) => randomIntegers(seed, F, 127),
    score: (features, head = 0) => integerScores(heads[head]!, features)[0]!,
    frame(gateway, sequence, entries) {
      const ciphertext = encryptor.encrypt(packLanes(entries, params.n, F));
      return sign({
        plant: PLANT,
        scheme,
        keyMode,
        paramsId: paramsId(params),
        keyId: keys.keyId,
        featureSetId: documentId(deployed.deployment.featureSet),
        gateway,
        epoch: 1,
        sequence,
        block: Math.max(0, gateways.indexOf(gateway)),
        lanes: encodeLanes(
          entries.map(({ lane }) => lane),
          lanes,
        ),
        frameTimeMs: 1000 * sequence,
        closedAtMs: Date.now(),
        jobId: null,
        frameCount: null,
        ciphertextHash: createHash("sha256").update(ciphertext).digest("hex"),
        ciphertext,
        signature: new Uint8Array(0),
      });
    },
    encode: (frame) => frameCodec.encode(frame),
    decrypt: (reply, lanes) => decryptor.decrypt(reply, lanes),
    [Symbol.dispose]: () => {
      encryptor[Symbol.dispose]();
      decryptor[Symbol.dispose]();
    },
  };
}

/** A folder that is gone after the test. */
export function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "smile-test-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

function randomHead(seed: number): QuantisedHead {
  const weights = randomIntegers(seed, F, 1023);
  return {
    outputs: 1,
    weights: [[...weights]],
    bias: [4321],
    scale: 0.001,
    worstCase: weights.reduce((sum, w) => sum + Math.abs(w) * 127, 4321),
  };
}

function randomIntegers(seed: number, count: number, largest: number): Int32Array {
  const random = xoroshiro128plus(seed);
  return Int32Array.from({ length: count }, () => uniformInt(random, -largest, largest));
}
