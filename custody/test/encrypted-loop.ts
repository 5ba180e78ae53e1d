import type { EncryptionKey, Evaluator, FrameEncryptor, ZeroSource } from "@smile/he/backend";
import { type LaneEntry, packLanes } from "@smile/he/lanes";
import { openEncryptor, openEvaluator } from "@smile/he/open";
import type { IntegerHead, Plan } from "@smile/he/planner";
import { prepareHead, type ScoringHead, scoreBatch } from "@smile/he/scoring";
import { mergeFrames } from "@smile/he/wire";
import { openDecryptor, type ReplyDecryptor } from "../src/decryptor.ts";
import { generateKeyPair, type KeyPair } from "../src/keys.ts";

/** Gateway, service and plant of one plan in one process, with a fresh key pair. */
export type EncryptedLoop = Disposable & {
  readonly keys: KeyPair;
  readonly encryptor: FrameEncryptor;
  readonly evaluator: Evaluator;
  readonly zeros: ZeroSource;
  readonly decryptor: ReplyDecryptor;
  /** The windows as one frame. */
  frame(entries: readonly LaneEntry[]): Uint8Array;
  /** One sanitised reply per output. */
  reply(head: IntegerHead, frames: readonly Uint8Array[], lanes: readonly number[]): Uint8Array[];
  /** The decrypted scores, [outputs][lanes]. */
  scores(head: IntegerHead, frames: readonly Uint8Array[], lanes: readonly number[]): number[][];
};

export function encryptionKey({ keyMode }: Plan, { publicKey, secretKey }: KeyPair): EncryptionKey {
  return { mode: keyMode, bytes: keyMode === "public" ? publicKey : secretKey };
}

export function scoringHead({ params, keyMode, featureCount, floodBits, replies }: Plan, head: IntegerHead): ScoringHead {
  return { headId: "head", params, keyMode, featureCount, floodBits, replies, ...head };
}

export async function openLoop(plan: Plan): Promise<EncryptedLoop> {
  const { params, featureCount } = plan;
  using opened = new DisposableStack();
  const keys = await generateKeyPair(params);
  const encryptor = opened.use(await openEncryptor(params, encryptionKey(plan, keys)));
  const evaluator = opened.use(await openEvaluator(params));
  const zeros = opened.use(evaluator.openZeros(keys.publicKey));
  const decryptor = opened.use(await openDecryptor(params, keys.secretKey, featureCount, plan.replies));
  const owned = opened.move();
  const reply: EncryptedLoop["reply"] = (head, frames, lanes) => {
    using prepared = prepareHead(evaluator, scoringHead(plan, head));
    const batch = plan.keyMode === "public" ? mergeFrames(params, frames) : frames[0]!;
    return scoreBatch(evaluator, prepared, batch, lanes, zeros);
  };
  return {
    keys,
    encryptor,
    evaluator,
    zeros,
    decryptor,
    frame: (entries) => encryptor.encrypt(packLanes(entries, params.n, featureCount)),
    reply,
    scores: (head, frames, lanes) => reply(head, frames, lanes).map((bytes) => decryptor.decrypt(bytes, lanes)),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** The score in plaintext integers. */
export function plainScore(head: IntegerHead, output: number, features: ArrayLike<number>): number {
  return Array.from(features).reduce((sum, x, f) => sum + x * head.weights[output]![f]!, head.bias[output]!);
}
