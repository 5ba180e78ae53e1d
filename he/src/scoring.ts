import type { Evaluator, PreparedPolynomial, ZeroSource } from "./backend.ts";
import { checkLanes, headPolynomial, scorePosition } from "./lanes.ts";
import type { KeyMode, Params } from "./params.ts";
import type { IntegerHead } from "./planner.ts";
import type { ReplyForm } from "./replies.ts";
import { finishScore } from "./sanitise.ts";
import { encodeSwitchedReply } from "./switched-reply.ts";
import { type CiphertextResidues, encodeReply } from "./wire.ts";

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
 * Scores one batch: a multiplication, an encryption of zero and a reply per output.
 * @param lanes occupied lanes, ascending
 * @param zeros of the key that the batch is under
 * @returns [outputs] replies
 * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE, CIPHERTEXT_TRANSPARENT, LANES_INVALID
 */
export function scoreBatch(
  evaluator: Evaluator,
  { head, polynomials }: PreparedHead,
  ciphertext: Uint8Array,
  lanes: readonly number[],
  zeros: ZeroSource,
): Uint8Array[] {
  const { params, featureCount } = head;
  checkLanes(lanes, params.n, featureCount);
  const positions = lanes.map((lane) => scorePosition(lane, featureCount));
  const form = head.keyMode === "public" ? "full" : "seeded";
  return evaluator.multiplySanitised(ciphertext, form, polynomials, zeros, positions, (product, output) =>
    finishReply(head, output, product, lanes),
  );
}

/**
 * Bias, flooding and the form on the wire.
 * @param product of the head's output, sanitised, in coefficient form; changed
 */
export function finishReply(head: ScoringHead, output: number, product: CiphertextResidues, lanes: readonly number[]): Uint8Array {
  const { params, featureCount, floodBits, replies } = head;
  finishScore(product, { bias: head.bias[output]!, lanes, featureCount, floodBits, q: params.q, t: params.t });
  return replies === undefined
    ? encodeReply(params, product, lanes, featureCount)
    : encodeSwitchedReply(params, replies.bits, product, lanes, featureCount);
}
