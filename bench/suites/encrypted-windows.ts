import { generateKeyPairSync, hash, type KeyObject } from "node:crypto";
import { generateKeyPair, type KeyPair } from "@smile/custody/keys";
import { encodeLanes, packLanes } from "@smile/he/lanes";
import { openEncryptor } from "@smile/he/open";
import { type KeyMode, paramsId } from "@smile/he/params";
import { type Plan, plan } from "@smile/he/planner";
import type { ScoringHead } from "@smile/he/scoring";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import { signFrame } from "@smile/schemas/signing";
import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plus } from "pure-rand/generator/xoroshiro128plus";

const FEATURE_BITS = 8;
const LARGEST_WEIGHT = 1023;
const MERGES = 8;
const ID_OF_NOTHING = "0".repeat(64);

/** `replyStep` as the planner takes it; default 1, exact scores under a smaller modulus. */
export type Shape = { readonly featureCount: number; readonly keyMode: KeyMode; readonly replyStep?: number };

/** A head of random weights, the parameters planned for it, keys, and real frames under them. */
export type EncryptedWindows = Disposable & {
  readonly plan: Plan;
  readonly keys: KeyPair;
  readonly signingKey: KeyObject;
  /** The head with its first outputs. */
  head(outputs: number): ScoringHead;
  /** A signed frame of windows in these lanes. */
  frame(sequence: number, lanes: readonly number[]): Frame;
  encode(frame: Frame): Buffer;
};

/** Lanes from 0 to the plan's last one. */
export function allLanes({ lanes }: Pick<Plan, "lanes">): number[] {
  return Array.from({ length: lanes }, (_, lane) => lane);
}

/**
 * Parameters are planned for a head of `mostOutputs` outputs with weights of 11 bits, features of 8 bits, at most 8 merges and compact
 * model privacy. Weights and windows come from a fixed seed. Dispose of it.
 */
export async function encryptedWindows({ featureCount, keyMode, replyStep = 1 }: Shape, mostOutputs: number): Promise<EncryptedWindows> {
  const random = xoroshiro128plus(featureCount);
  const integers = (largest: number) => Int32Array.from({ length: featureCount }, () => uniformInt(random, -largest, largest));
  const weights = Array.from({ length: mostOutputs }, () => integers(LARGEST_WEIGHT));
  const bias = weights.map(() => 4321);
  const planned = plan({
    featureCount,
    featureBits: FEATURE_BITS,
    heads: [{ weights, bias }],
    keyMode,
    maxMerges: MERGES,
    modelPrivacy: "compact",
    replyStep,
  });
  const { params, floodBits } = planned;
  const keys = await generateKeyPair(params);
  const encryptor = await openEncryptor(params, { mode: keyMode, bytes: keyMode === "public" ? keys.publicKey : keys.secretKey });
  const signingKey = generateKeyPairSync("ed25519").privateKey;
  return {
    plan: planned,
    keys,
    signingKey,
    head: (outputs) => ({
      headId: `${outputs} outputs`,
      params,
      keyMode,
      featureCount,
      floodBits,
      replies: planned.replies,
      weights: weights.slice(0, outputs),
      bias: bias.slice(0, outputs),
    }),
    frame(sequence, lanes) {
      const entries = lanes.map((lane) => ({ lane, features: integers(2 ** (FEATURE_BITS - 1) - 1) }));
      const ciphertext = encryptor.encrypt(packLanes(entries, params.n, featureCount));
      const frame = {
        plant: "steelworks-north",
        gateway: "hall-3",
        scheme: params.scheme,
        keyMode,
        paramsId: paramsId(params),
        keyId: keys.keyId,
        featureSetId: ID_OF_NOTHING,
        epoch: 1,
        sequence,
        block: 0,
        lanes: encodeLanes(lanes, planned.lanes),
        frameTimeMs: 1_800_000_000_000 + 1000 * sequence,
        closedAtMs: 1_800_000_000_500 + 1000 * sequence,
        jobId: null,
        frameCount: null,
        ciphertextHash: hash("sha256", ciphertext),
        ciphertext,
      };
      return signFrame(frame, signingKey);
    },
    encode: (frame) => frameCodec.encode(frame),
    [Symbol.dispose]: () => encryptor[Symbol.dispose](),
  };
}
