import { openDecryptor } from "@smile/custody/decryptor";
import { generateKeyPair } from "@smile/custody/keys";
import { packLanes } from "@smile/he/lanes";
import { openEncryptor, openEvaluator } from "@smile/he/open";
import type { KeyMode } from "@smile/he/params";
import { plan } from "@smile/he/planner";
import { finishReply, prepareHead, scoreBatch } from "@smile/he/scoring";
import { checkFrame } from "@smile/he/wire";
import { clocks, difference, dividedBy, type Samples, type SamplingRule, sampleTogether } from "../harness/sampling.ts";
import { FEATURE_BITS, FEATURE_COUNT, type ScoredWindows } from "./scored-windows.ts";
import type { Way } from "./way.ts";

/** As many as gateways share a ciphertext elsewhere in these benches; 1 in symmetric mode by the planner. */
const MERGES = 8;
/** Windows whose scores are compared with the exact ones: as many as a peer puts into its largest batch, N / 2 at N = 8192. */
const COMPARED = 4096;

/** Our own way as the peers' are measured: one frame of full lanes, the same windows, one thread. */
export async function ours(keyMode: KeyMode, { features, head, scores }: ScoredWindows, rule: SamplingRule) {
  using opened = new DisposableStack();
  const planned = plan({
    featureCount: FEATURE_COUNT,
    featureBits: FEATURE_BITS,
    heads: [head],
    keyMode,
    maxMerges: MERGES,
    modelPrivacy: "compact",
    replyStep: 1,
  });
  const { params, floodBits, replies } = planned;
  const keys = await generateKeyPair(params);
  const bytes = keyMode === "public" ? keys.publicKey : keys.secretKey;
  const encryptor = opened.use(await openEncryptor(params, { mode: keyMode, bytes }));
  const evaluator = opened.use(await openEvaluator(params));
  const zeros = opened.use(evaluator.openZeros(keys.publicKey));
  const decryptor = opened.use(await openDecryptor(params, keys.secretKey, FEATURE_COUNT, replies));
  const prepared = opened.use(
    prepareHead(evaluator, { headId: "head", params, keyMode, featureCount: FEATURE_COUNT, floodBits, replies, ...head }),
  );
  const lanes = Array.from({ length: planned.lanes }, (_, lane) => lane);

  const encrypt = (first: number) =>
    encryptor.encrypt(
      packLanes(
        lanes.map((lane) => ({ lane, features: features[first + lane]! })),
        params.n,
        FEATURE_COUNT,
      ),
    );
  const score = (frame: Uint8Array) => scoreBatch(evaluator, prepared, frame, lanes, zeros)[0]!;
  /** What nobody sends: without a sanitiser a reply gives the model away. The others send theirs like that. */
  const scoreOnly = (frame: Uint8Array) => {
    const [product] = evaluator.multiply(frame, keyMode === "public" ? "full" : "seeded", prepared.polynomials);
    return finishReply(prepared.head, 0, product!, lanes);
  };

  let largestError = 0;
  for (let first = 0; first < COMPARED; first += planned.lanes) {
    const decrypted = decryptor.decrypt(score(encrypt(first)), lanes);
    for (const lane of lanes) largestError = Math.max(largestError, Math.abs(decrypted[lane]! - scores[first + lane]!));
  }

  const frame = encrypt(0);
  const reply = score(frame);
  const wallUs = clocks.wall();
  const cpuUs = clocks.cpu();
  const samples = await sampleTogether(
    [
      { name: "encrypt", run: () => encrypt(0) },
      { name: "check", run: () => checkFrame(params, keyMode, frame) },
      { name: "score", run: () => scoreOnly(frame) },
      { name: "score and sanitise", run: () => score(frame) },
      { name: "decrypt", run: () => decryptor.decrypt(reply, lanes) },
    ],
    rule,
  );
  const coresBusy = (clocks.cpu() - cpuUs) / (clocks.wall() - wallUs);
  const makeSanitiser = difference(samples.get("score and sanitise")!, samples.get("score")!);
  const perWindow = (name: string): Samples => dividedBy(name === "make sanitiser" ? makeSanitiser : samples.get(name)!, lanes.length);
  const us = (name: string) => [...perWindow(name).us];
  const sizes = { up: frame.length / lanes.length, down: reply.length / lanes.length };
  const way: Way = {
    way: `${keyMode} keys`,
    parameters: {
      scheme: "BGV",
      ringDegree: params.n,
      primeBits: [params.q.toString(2).length],
      plainBits: Math.log2(params.t),
      floodBits,
      modelPrivacy: planned.modelPrivacy,
      keys: keyMode,
    },
    windowsPerBatch: lanes.length,
    encrypt: us("encrypt"),
    service: { check: us("check"), score: us("score") },
    apart: { "make sanitiser": us("make sanitiser") },
    decrypt: us("decrypt"),
    bytes: sizes,
    bytesAt32: sizes,
    keyBytes: { public: keys.publicKey.length, evaluation: 0 },
    largestError,
    largestScore: Math.max(...scores.slice(0, COMPARED).map(Math.abs)),
    coresBusy,
  };
  return { way, samples: { service: perWindow("score"), check: perWindow("check"), sanitiser: perWindow("make sanitiser") } };
}
