import type { Evaluator, PreparedPolynomial } from "./backend.ts";
import { checkLanes, headPolynomial } from "./lanes.ts";
import type { KeyMode, Params } from "./params.ts";
import type { IntegerHead } from "./planner.ts";
import type { ReplyForm } from "./replies.ts";
import { finishScore, type Sanitiser } from "./sanitise.ts";
import { encodeSwitchedReply } from "./switched-reply.ts";
import { encodeReply } from "./wire.ts";

/** What scoring needs of a plan and a head, in a form that moves between threads. */
export type ScoringHead = IntegerHead & {
  /** Names the head within its parameters: what prepared polynomials are cached by. */
  readonly headId: string;
  readonly params: Params;
  readonly keyMode: KeyMode;
  readonly featureCount: number;
  readonly floodBits: number;
  /** Undefined for whole replies. */
  readonly replies?: ReplyForm | undefined;
};

/** A head's outputs prepared for multiplication. */
export type PreparedHead = Disposable & { readonly head: ScoringHead; readonly polynomials: readonly PreparedPolynomial[] };

export function prepareHead(evaluator: Evaluator, head: ScoringHead): PreparedHead {
  using opened = new DisposableStack();
  const polynomials = head.weights.map((weights) => opened.use(evaluator.prepare(headPolynomial(weights, head.params.n))));
  const owned = opened.move();
  return { head, polynomials, [Symbol.dispose]: () => owned.dispose() };
}

/**
 * Scores one batch: a multiplication, a sanitiser and a reply per output.
 * @param lanes occupied lanes, ascending
 * @param sanitisers one per output, each of this key and never used before
 * @returns [outputs] replies
 * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE, CIPHERTEXT_TRANSPARENT, LANES_INVALID
 */
export function scoreBatch(
  evaluator: Evaluator,
  { head, polynomials }: PreparedHead,
  ciphertext: Uint8Array,
  lanes: readonly number[],
  sanitisers: readonly Sanitiser[],
): Uint8Array[] {
  if (sanitisers.length !== polynomials.length)
    throw new RangeError(`${polynomials.length} outputs need as many sanitisers, not ${sanitisers.length}`);
  const { params, featureCount, floodBits, replies } = head;
  checkLanes(lanes, params.n, featureCount);
  const products = evaluator.multiply(ciphertext, head.keyMode === "public" ? "full" : "seeded", polynomials);
  return products.map((product, k) => {
    finishScore(product, sanitisers[k]!, { bias: head.bias[k]!, lanes, featureCount, floodBits, q: params.q, t: params.t });
    return replies === undefined
      ? encodeReply(params, product, lanes, featureCount)
      : encodeSwitchedReply(params, replies.bits, product, lanes, featureCount);
  });
}
