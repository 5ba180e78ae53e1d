import { featureCount } from "@smile/features/feature-count";
import type { RecordFeatureSet } from "@smile/features/records/record-spec";
import type { KeyMode, Scheme } from "@smile/he/params";
import { type ModelPrivacy, type Plan, plan } from "@smile/he/planner";
import { documentId, type Head } from "@smile/schemas/documents";
import { paramsToDocument } from "@smile/schemas/params-document";
import type { SegmentCard, SegmentDeployment } from "@smile/schemas/record-documents";
import type { QuantisedHead } from "./training/quantise-head.ts";

export type SegmentRequest = {
  readonly featureSet: RecordFeatureSet;
  /** As `segmentHead` made it: an output per segment. */
  readonly head: QuantisedHead;
  readonly card: Omit<SegmentCard, "kind" | "version" | "headId" | "featureSetId">;
  readonly keyMode: KeyMode;
  readonly modelPrivacy: ModelPrivacy;
  /** Default `bgv`; `identity` does not encrypt and is for tests. */
  readonly scheme?: Scheme;
};

/** What goes public (the deployment) and what stays with the model service (the head). */
export type DeployedSegments = { readonly deployment: SegmentDeployment; readonly heads: readonly Head[]; readonly plan: Plan };

/**
 * Plans parameters that fit a segment head, and writes the documents. A job's frames come full, so nothing is gained by merging them.
 * @throws {PipelineError} PLAN_REFUSED, with the numbers, when no parameters fit
 */
export function deploySegments({ featureSet, head, card, keyMode, modelPrivacy, scheme = "bgv" }: SegmentRequest): DeployedSegments {
  const planned = plan({
    scheme,
    featureCount: featureCount(featureSet),
    featureBits: featureSet.quantise.bits,
    heads: [head],
    keyMode,
    maxMerges: 1,
    modelPrivacy,
    replyStep: 1,
  });
  const featureSetId = documentId(featureSet);
  const document: Head = { kind: "head", version: 1, featureSetId, ...head };
  const deployment: SegmentDeployment = {
    kind: "segment-deployment",
    version: 1,
    featureSet,
    params: paramsToDocument(planned.params),
    keyMode,
    lanes: planned.lanes,
    maxMerges: planned.maxMerges,
    ...(planned.replies && { replies: { ...planned.replies, step: 1 as const } }),
    cards: [{ kind: "segment-card", version: 1, headId: documentId(document), featureSetId, ...card }],
  };
  return { deployment, heads: [document], plan: planned };
}
