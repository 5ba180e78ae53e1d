import { checkPrimeSync } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import { laneCount } from "./lanes.ts";
import { LOG2_SHARED_TAIL, LOG2_TAIL_PROBABILITY, type NoiseShape, spectrum, tailBound } from "./noise.ts";
import { type KeyMode, MAX_Q_BITS, type Params, residueBits, type Scheme } from "./params.ts";
import { LARGEST_REPLY_BITS, leastReplyBits, noiseLeft, type ReplyForm } from "./replies.ts";

/** `compact`: N = 2048 where it fits, with the flooding that is left over. `sanitised`: N = 4096 and at least 2^30. */
export type ModelPrivacy = "compact" | "sanitised";

/** An integer head: score k of features x is the sum of weights[k][f] * x[f], plus bias[k]. */
export type IntegerHead = { readonly weights: readonly ArrayLike<number>[]; readonly bias: readonly number[] };

export type PlanRequest = {
  readonly scheme?: Scheme;
  /** F: features per window, at least 1. */
  readonly featureCount: number;
  /** Features lie in [-(2^(bits-1) - 1), 2^(bits-1) - 1]. */
  readonly featureBits: number;
  /** Every head that is bound to the feature set; at least one. */
  readonly heads: readonly IntegerHead[];
  readonly keyMode: KeyMode;
  /** The largest number of frames that are added into one ciphertext. Always 1 in symmetric mode. */
  readonly maxMerges: number;
  readonly modelPrivacy: ModelPrivacy;
  /** For `plan`: windows that a ciphertext has room for at the least, by a larger ring where it takes one. Default 1. */
  readonly leastLanes?: number | undefined;
  /**
   * For `plan`: replies under a smaller modulus, in which scores are right to this step, a power of two; 1 for exact scores. Absent: whole
   * replies, which are exact.
   */
  readonly replyStep?: number | undefined;
};

/**
 * Parameters under which every score of every head decrypts to the exact integer, or to a multiple of the asked step next to it, with
 * failure probability at most 2^-128.
 */
export type Plan = {
  readonly params: Params;
  readonly keyMode: KeyMode;
  readonly featureCount: number;
  readonly featureBits: number;
  /** L = floor(N / F): windows per ciphertext. */
  readonly lanes: number;
  readonly maxMerges: number;
  readonly modelPrivacy: ModelPrivacy;
  /** Replies carry flooding noise uniform in [-2^floodBits, 2^floodBits], times t. */
  readonly floodBits: number;
  /** Largest |score| that any features within their bits can give. */
  readonly scoreBound: number;
  /** log2 of the bound on |message + t * noise| of a reply, flooding included; below log2(q / 2). */
  readonly noiseBits: number;
  /** log2(q / 2) - noiseBits: what is left unused. */
  readonly marginBits: number;
  /** How replies are sent; undefined for whole ones, modulo q: asked for, or no larger than what was asked for. */
  readonly replies?: ReplyForm | undefined;
};

/** The least flooding per profile: `compact` takes what is left over, but no less than the noise of a fresh encryption is wide. */
const LEAST_FLOOD_BITS = { compact: 8, sanitised: 30 } as const;
/** More flooding than this hides nothing further at these sizes and would only cost random bytes. */
const LARGEST_FLOOD_BITS = 40;
/** The wire codec packs residues of 33 to 60 bits: a tiny head gets a larger q than it needs, and more flooding with it. */
const LEAST_Q_BITS = 33;
/** The bounds are computed in doubles; this keeps their rounding from ever deciding. */
const ROUNDING = 1 + 2 ** -20;
/** Scores and t stay in the range in which a double is an exact integer, with room for sums. */
const LARGEST_T_BITS = 50;

/**
 * Chooses the smallest t that the worst-case score fits, then the smallest ring and prime that the noise fits, then the fewest bits of a
 * reply that its step allows. Where that would not make replies smaller, ask for another ring or narrow the flooding, replies are whole.
 * @throws {PipelineError} PLAN_REFUSED, with the numbers, when nothing fits or a weight or feature size is no safe integer
 */
export function plan(request: PlanRequest): Plan {
  const { featureCount, featureBits, modelPrivacy, leastLanes = 1, scheme = "bgv", replyStep } = request;
  checkRequest(request);
  const scoreBound = worstScore(request);
  const readBound = largestRead(scoreBound, replyStep);
  const tBits = Math.max(2, Math.floor(Math.log2(Math.max(readBound, largestFeature(featureBits)))) + 2);
  if (tBits > LARGEST_T_BITS) {
    throw new PipelineError(
      "PLAN_REFUSED",
      `the worst-case score 2^${Math.log2(scoreBound).toFixed(1)} is too large for a plaintext modulus`,
      {
        featureCount,
        tBits,
        largestTBits: LARGEST_T_BITS,
      },
    );
  }
  const t = 2 ** tBits;
  const tried: string[] = [];
  for (const n of modelPrivacy === "sanitised" ? [4096] : [2048, 4096]) {
    if (featureCount > n) {
      tried.push(`N = ${n} has room for ${n} features, not ${featureCount}`);
      continue;
    }
    if (laneCount(n, featureCount) < leastLanes) {
      tried.push(`N = ${n} has room for ${laneCount(n, featureCount)} windows, not ${leastLanes}`);
      continue;
    }
    const needed = (scoreBound + t * (worstNoise(request, n) + 2 ** LEAST_FLOOD_BITS[modelPrivacy])) * ROUNDING;
    const q = smallestPrime(n, tBits, needed);
    if (q !== undefined) {
      const whole = assess(request, { scheme, n, q, t });
      return (replyStep && switchedPlan(request, whole, replyStep)) || whole;
    }
    tried.push(`N = ${n} needs q above 2^${(Math.log2(needed) + 1).toFixed(1)}, secure up to 2^${MAX_Q_BITS.get(n)}`);
  }
  throw new PipelineError("PLAN_REFUSED", `no parameters fit ${featureCount} features of ${featureBits} bits: ${tried.join("; ")}`, {
    featureCount,
    featureBits,
    maxMerges: request.maxMerges,
    tBits,
    modelPrivacy,
  });
}

/**
 * The plan with switched replies in the same ring, flooded no less than that with whole ones: under its prime, or one of a bit more, which
 * leaves room for fewer bits of the reply; whichever makes frame and reply together smaller. Undefined when neither helps.
 */
function switchedPlan(request: PlanRequest, { params, floodBits, scoreBound }: Plan, step: number): Plan | undefined {
  const { n, t } = params;
  const noise = worstNoise(request, n, LOG2_SHARED_TAIL);
  const larger = smallestPrime(n, Math.log2(t), 2 ** (residueBits(params) - 1));
  let best: { params: Params; replies: ReplyForm; total: number } | undefined;
  for (const q of larger === undefined ? [params.q] : [params.q, larger]) {
    const tried = { ...params, q };
    const least = leastReplyBits(tried, step) ?? Number.POSITIVE_INFINITY;
    for (let bits = least; bits < residueBits(tried) && bits <= LARGEST_REPLY_BITS; bits++) {
      const replies = { bits, step };
      if (floodingIn(tried, scoreBound, noise, replies) < floodBits) continue;
      const total = residueBits(tried) + bits;
      if (best === undefined || total < best.total) best = { params: tried, replies, total };
      break;
    }
  }
  return best && assess(request, best.params, best.replies);
}

/**
 * What given parameters do for these heads: how a service takes up parameters that were planned, and deployed, before.
 * @param replies how replies are sent; undefined for whole ones
 * @throws {PipelineError} PLAN_REFUSED, with the numbers, when a head could decrypt wrongly or flooding would be too small
 */
export function assess(request: PlanRequest, params: Params, replies?: ReplyForm): Plan {
  checkRequest({ ...request, replyStep: replies?.step });
  const { featureCount, featureBits, keyMode, modelPrivacy } = request;
  const { n, q, t } = params;
  const scoreBound = worstScore(request);
  const noise = worstNoise(request, n, replies && LOG2_SHARED_TAIL);
  const floodBits = floodingIn(params, scoreBound, noise, replies);
  const readBound = largestRead(scoreBound, replies?.step);
  const fits =
    featureCount <= n &&
    Math.max(readBound, largestFeature(featureBits)) < t / 2 &&
    floodBits >= LEAST_FLOOD_BITS[modelPrivacy] &&
    (replies?.bits ?? 0) <= LARGEST_REPLY_BITS;
  if (!fits) {
    throw new PipelineError(
      "PLAN_REFUSED",
      `these parameters do not fit: scores up to 2^${Math.log2(scoreBound).toFixed(1)}, flooding 2^${floodBits}`,
      {
        n,
        qBits: q.toString(2).length,
        tBits: Math.log2(t),
        featureCount,
        leastFloodBits: LEAST_FLOOD_BITS[modelPrivacy],
        ...(replies && { replyBits: replies.bits, replyStep: replies.step }),
      },
    );
  }
  const noiseBits = Math.log2(scoreBound + t * (noise + 2 ** floodBits));
  return {
    params,
    keyMode,
    featureCount,
    featureBits,
    lanes: laneCount(n, featureCount),
    maxMerges: mergesOf(request, n),
    modelPrivacy,
    floodBits,
    scoreBound,
    noiseBits,
    marginBits: Math.log2(Number(q)) - 1 - noiseBits,
    replies,
  };
}

/** Largest |score| that can be read: rounding to a step may lead away from zero. */
const largestRead = (scoreBound: number, step = 1) => scoreBound + step / 2;

/** Bits of the flooding for which there is room beside score and noise, and beside the rounding of switched replies; at most 40, 0 for none. */
function floodingIn(params: Params, scoreBound: number, noise: number, replies: ReplyForm | undefined): number {
  const { q, t } = params;
  const half = Number(q / 2n) / ROUNDING;
  const limit = replies === undefined ? half : Math.min(half, 2 * half * noiseLeft(params, replies));
  const room = limit - scoreBound - t * noise;
  return Math.min(LARGEST_FLOOD_BITS, Math.floor(Math.log2(Math.max(1, room / t))));
}

const largestFeature = (bits: number) => 2 ** (bits - 1) - 1;
/** Frames that merge have disjoint lanes, so there are never more of them than lanes. */
const mergesOf = ({ keyMode, maxMerges, featureCount }: PlanRequest, n: number) =>
  keyMode === "symmetric" ? 1 : Math.min(maxMerges, laneCount(n, featureCount));

/** Largest |score| of any output over all features within their bits. */
function worstScore({ heads, featureBits }: PlanRequest): number {
  const scores = heads.flatMap(({ weights, bias }) => weights.map((w, k) => largestFeature(featureBits) * norm1(w) + Math.abs(bias[k]!)));
  return Math.max(...scores);
}

/** Bound on one noise coefficient of a sanitised but not flooded reply, in units of the error. */
function worstNoise(request: PlanRequest, n: number, tail = LOG2_TAIL_PROBABILITY): number {
  const merges = mergesOf(request, n);
  const products = request.heads.flatMap(({ weights }) => weights.map((w) => productBound(w, n, request.keyMode, merges, tail)));
  return Math.max(...products) + sanitiserBound(n, tail);
}

/** Bound on one noise coefficient of (sum of `merges` fresh encryptions) * weights, in units of the error. */
function productBound(weights: ArrayLike<number>, n: number, keyMode: KeyMode, merges: number, log2Tail: number): number {
  let norm2 = 0;
  for (let f = 0; f < weights.length; f++) norm2 += weights[f]! ** 2;
  if (norm2 === 0) return 0;
  const shape: NoiseShape = { norm2, spectrum: keyMode === "public" ? spectrum(weights, n) : new Float64Array(0) };
  return tailBound(shape, merges, log2Tail);
}

/** Bound on one noise coefficient of the fresh public-key encryption of zero that every reply is sanitised with. */
export function sanitiserBound(n: number, log2Tail = LOG2_TAIL_PROBABILITY): number {
  return tailBound({ norm2: 1, spectrum: new Float64Array(n).fill(1) }, 1, log2Tail);
}

/** The largest prime of the fewest bits, at least 33, with q = 1 mod lcm(2N, t) and q / 2 above `needed`; undefined if none is secure at N. */
function smallestPrime(n: number, tBits: number, needed: number): bigint | undefined {
  const step = 1n << BigInt(Math.max(tBits, Math.log2(2 * n)));
  for (let bits = Math.max(LEAST_Q_BITS, Math.floor(Math.log2(needed)) + 2); bits <= MAX_Q_BITS.get(n)!; bits++) {
    const least = 1n << BigInt(bits - 1);
    for (let q = (1n << BigInt(bits)) - step + 1n; q > least; q -= step) {
      if (Number(q / 2n) <= needed) break;
      if (checkPrimeSync(q)) return q;
    }
  }
  return undefined;
}

function norm1(weights: ArrayLike<number>): number {
  let sum = 0;
  for (let f = 0; f < weights.length; f++) sum += Math.abs(weights[f]!);
  return sum;
}

function checkRequest({ featureCount, featureBits, heads, maxMerges, leastLanes = 1, replyStep }: PlanRequest): void {
  const refuse = (what: string, facts: Record<string, number> = {}) => {
    throw new PipelineError("PLAN_REFUSED", what, facts);
  };
  if (!Number.isInteger(featureCount) || featureCount < 1) refuse("featureCount must be a whole number of at least 1", { featureCount });
  if (!Number.isInteger(featureBits) || featureBits < 2 || featureBits > 16) refuse("featureBits must be from 2 to 16", { featureBits });
  if (!Number.isInteger(maxMerges) || maxMerges < 1) refuse("maxMerges must be a whole number of at least 1", { maxMerges });
  if (!Number.isInteger(leastLanes) || leastLanes < 1) refuse("leastLanes must be a whole number of at least 1", { leastLanes });
  if (replyStep !== undefined && !(Number.isInteger(Math.log2(replyStep)) && replyStep >= 1))
    refuse("the step of replies must be a power of two of at least 1", { replyStep });
  if (heads.length === 0 || heads.some((head) => head.weights.length === 0))
    refuse("a plan needs at least one head with at least one output");
  for (const head of heads) {
    if (head.bias.length !== head.weights.length)
      refuse("a head has one bias per output", { outputs: head.weights.length, biases: head.bias.length });
    head.weights.forEach((weights, k) => {
      if (weights.length !== featureCount) refuse("a head has one weight per feature", { featureCount, weights: weights.length });
      const whole = Array.prototype.every.call(weights, Number.isSafeInteger) && Number.isSafeInteger(head.bias[k]);
      if (!whole) refuse("weights and biases must be whole numbers", { output: k });
    });
  }
}
