import { featureCount } from "@smile/features/feature-count";
import type { FeatureSet } from "@smile/features/spec";
import type { KeyMode, Scheme } from "@smile/he/params";
import { type ModelPrivacy, type Plan, plan } from "@smile/he/planner";
import { type Deployment, documentId, type Head, type ModelCard } from "@smile/schemas/documents";
import { paramsToDocument } from "@smile/schemas/params-document";
import { largestStep } from "@smile/schemas/score-precision";
import type { QuantisedHead } from "./training/quantise-head.ts";

/** A trained head and what its card says of it. */
export type Candidate = {
  readonly head: QuantisedHead;
  readonly card: Omit<ModelCard, "kind" | "version" | "headId" | "featureSetId" | "scale">;
};

/** The candidate under a card that asks for a precision; as it is for 0. */
export function withPrecision(candidate: Candidate, precision: number): Candidate {
  return precision > 0 ? { ...candidate, card: { ...candidate.card, precision } } : candidate;
}

export type DeployRequest = {
  readonly featureSet: FeatureSet;
  readonly candidates: readonly Candidate[];
  readonly keyMode: KeyMode;
  readonly maxMerges: number;
  readonly modelPrivacy: ModelPrivacy;
  /** Windows per ciphertext at the least. Default 1: as many as the smallest ring has room for. */
  readonly leastLanes?: number;
  /** Default `bgv`; `identity` does not encrypt and is for tests. */
  readonly scheme?: Scheme;
  /** `switched`, the default: as small as the cards' precision allows. `whole`: exact and larger, what plants before decision 13 read. */
  readonly replies?: "switched" | "whole";
};

/** Replies keep at least eight bits of the worst-case score, whatever precision a card asks for: fewer would save little. */
const LEAST_STEPS = 256;

/** What goes public (the deployment) and what stays with the model service (the heads). */
export type Deployed = { readonly deployment: Deployment; readonly heads: readonly Head[]; readonly plan: Plan };

/**
 * Plans parameters that fit every head, and writes the documents. Scores are exact unless every card states a precision.
 * @throws {PipelineError} PLAN_REFUSED, with the numbers, when no parameters fit
 */
export function deploy(request: DeployRequest): Deployed {
  const { featureSet, candidates, keyMode, maxMerges, modelPrivacy, leastLanes, scheme = "bgv", replies = "switched" } = request;
  const steps = candidates.map(({ head, card }) => largestStep({ scale: head.scale, ...card }, head.worstCase / LEAST_STEPS));
  const planned = plan({
    scheme,
    featureCount: featureCount(featureSet),
    featureBits: featureSet.quantise.bits,
    heads: candidates.map(({ head }) => head),
    keyMode,
    maxMerges,
    modelPrivacy,
    leastLanes,
    replyStep: replies === "whole" ? undefined : Math.min(...steps),
  });
  const featureSetId = documentId(featureSet);
  const heads = candidates.map(({ head }): Head => ({ kind: "head", version: 1, featureSetId, ...head }));
  const cards = candidates.map(
    ({ card, head }, i): ModelCard => ({
      kind: "model-card",
      version: 1,
      headId: documentId(heads[i]!),
      featureSetId,
      scale: head.scale,
      ...card,
    }),
  );
  const deployment: Deployment = {
    kind: "deployment",
    version: 1,
    featureSet,
    params: paramsToDocument(planned.params),
    keyMode,
    lanes: planned.lanes,
    maxMerges: planned.maxMerges,
    ...(planned.replies && { replies: planned.replies }),
    cards,
  };
  return { deployment, heads, plan: planned };
}
