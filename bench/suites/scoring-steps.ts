import { openEvaluator } from "@smile/he/open";
import { finishScore } from "@smile/he/sanitise";
import { finishReply, type PreparedHead, prepareHead, scoreBatch } from "@smile/he/scoring";
import { decodeFull, decodeSeeded, encodeReply, mergeFrames } from "@smile/he/wire";
import { checkBatch } from "@smile/model-service/check-batch";
import { batchCodec } from "@smile/schemas/envelopes";
import { mergeToBatch } from "@smile/stream-processor/batch";
import { type Case, difference, dividedBy, partOf, type Samples, sumOf } from "../harness/sampling.ts";
import { allLanes, encryptedWindows, type Shape } from "./encrypted-windows.ts";
import { openInverseNtt } from "./inverse-ntt.ts";

/** Steps of one output that add up to a frame, in their order. */
export const SCORING_STEPS = ["check", "unpack", "load", "multiply", "inverse NTT", "sanitise", "pack"] as const;

const OUTPUTS = 4;
/** Gateways whose frames a batch is made of when merging is measured: at most. */
const MERGED = 8;

/** What was measured of one shape: steps and wholes per frame, by name. */
export type ShapeSamples = { readonly lanes: number; readonly samples: Map<string, Samples> };

/** A frame of one shape on the service's bench. Dispose of it. */
export type ScoringSteps = Disposable & {
  readonly lanes: number;
  readonly cases: readonly Case[];
  /** Steps and wholes, per frame, out of the samples of the cases. */
  derive(samples: ReadonlyMap<string, Samples>): Map<string, Samples>;
};

/**
 * Opens the service's work on one full frame. Steps that no function does alone are differences: loading is a multiplication by no
 * polynomial less the unpacking, the multiplication is that by one polynomial less that by none and less the inverse NTT.
 */
export async function openScoringSteps(shape: Shape): Promise<ScoringSteps> {
  using opened = new DisposableStack();
  const windows = opened.use(await encryptedWindows(shape, OUTPUTS));
  const { params, floodBits } = windows.plan;
  const { featureCount, keyMode } = shape;
  const evaluator = opened.use(await openEvaluator(params));
  const one = opened.use(prepareHead(evaluator, windows.head(1)));
  const several = opened.use(prepareHead(evaluator, windows.head(OUTPUTS)));
  const zeros = opened.use(evaluator.openZeros(windows.keys.publicKey));
  const lanes = allLanes(windows.plan);
  const batch = batchCodec.decode(mergeToBatch(params, [windows.frame(1, lanes)]));
  const { ciphertext } = batch;
  const form = keyMode === "public" ? "full" : "seeded";
  const [product] = evaluator.multiply(ciphertext, form, one.polynomials);
  /** What nobody sends: without a sanitiser a reply gives the model away. */
  const scoreOnly = ({ head, polynomials }: PreparedHead) =>
    evaluator.multiply(ciphertext, form, polynomials).map((each, output) => finishReply(head, output, each, lanes));
  const inverse = opened.use(await openInverseNtt(params, product!));
  const finish = { bias: 1, lanes, featureCount, floodBits, q: params.q, t: params.t };
  const cases: Case[] = [
    { name: "check", run: () => checkBatch(batch, params) },
    { name: "unpack", run: () => (form === "full" ? decodeFull(params, ciphertext) : decodeSeeded(params, ciphertext)) },
    { name: "multiply by none", run: () => evaluator.multiply(ciphertext, form, []) },
    { name: "multiply by one", run: () => evaluator.multiply(ciphertext, form, one.polynomials) },
    ...inverse.cases,
    { name: "sanitise", run: () => finishScore(product!, finish) },
    { name: "pack", run: () => encodeReply(params, product!, lanes, featureCount) },
    { name: "one output", run: () => scoreOnly(one) },
    { name: "several outputs", run: () => scoreOnly(several) },
    { name: "one output, sanitised", run: () => scoreBatch(evaluator, one, ciphertext, lanes, zeros) },
  ];
  if (keyMode === "public") {
    const frames = lanes.slice(0, MERGED).map((lane) => windows.frame(lane, [lane]).ciphertext);
    cases.push({ name: "merge", perCall: frames.length, run: () => mergeFrames(params, frames) });
  }
  const owned = opened.move();
  return {
    lanes: lanes.length,
    cases,
    derive(samples) {
      const of = (name: string) => samples.get(name)!;
      return new Map([
        ["check", partOf(of("check"))],
        ["unpack", partOf(of("unpack"))],
        ["load", difference(of("multiply by none"), of("unpack"))],
        ["multiply", difference(difference(of("multiply by one"), of("multiply by none")), inverse.samples(of))],
        ["inverse NTT", inverse.samples(of)],
        ["sanitise", partOf(of("sanitise"))],
        ["pack", partOf(of("pack"))],
        ["unpack to inverse NTT", of("multiply by one")],
        ["frame", sumOf(of("check"), of("one output"))],
        [`frame, ${OUTPUTS} outputs`, sumOf(of("check"), of("several outputs"))],
        ["each further output", dividedBy(difference(of("several outputs"), of("one output")), OUTPUTS - 1)],
        ["frame, sanitised", sumOf(of("check"), of("one output, sanitised"))],
        ["make sanitiser", difference(of("one output, sanitised"), of("one output"))],
        ...(keyMode === "public" ? [["merge", of("merge")] as const] : []),
      ]);
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}
