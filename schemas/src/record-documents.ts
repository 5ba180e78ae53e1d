import type { RecordFeatureSet, RecordMapping } from "@smile/features/records/record-spec";
import { z } from "zod";
import { hash } from "./document-fields.ts";
import { type Deployment, DeploymentDocument, ParamsDocument, RepliesDocument } from "./documents.ts";
import type { WorkKind } from "./topics.ts";

const count = z.number().int().min(1);
const column = z.string().min(1).max(200);
const values = z.array(z.string().min(1).max(200)).min(1).max(1000);
const finite = z.number();
const positive = z.number().positive();

/** See @smile/features/records/record-spec: public, immutable; its id names it in every envelope. */
export const RecordFeatureSetDocument: z.ZodType<RecordFeatureSet> = z.strictObject({
  kind: z.literal("record-feature-set"),
  version: z.literal(1),
  name: z.string().min(1).max(200),
  columns: z
    .array(
      z.discriminatedUnion("kind", [
        z.strictObject({ kind: z.literal("numeric"), column, mean: finite, deviation: positive, weight: positive }),
        z.strictObject({ kind: z.literal("ordinal"), column, values, mean: finite, deviation: positive, weight: positive }),
        z.strictObject({ kind: z.literal("categorical"), column, values, shares: z.array(positive.max(1)).min(1), weight: positive }),
      ]),
    )
    .min(1)
    .max(4096),
  clip: positive,
  quantise: z.strictObject({ bits: z.number().int().min(2).max(16) }),
});

/** What an analyst says about the columns of a file: private to the organisation. */
export const RecordMappingDocument: z.ZodType<RecordMapping> = z.strictObject({
  name: z.string().min(1).max(200),
  columns: z
    .array(
      z.discriminatedUnion("kind", [
        z.strictObject({ kind: z.literal("numeric"), column, weight: positive.exactOptional() }),
        z.strictObject({ kind: z.literal("ordinal"), column, values, weight: positive.exactOptional() }),
        z.strictObject({ kind: z.literal("categorical"), column, values: values.exactOptional(), weight: positive.exactOptional() }),
      ]),
    )
    .min(1),
  identifier: column,
  ignored: z.array(column),
  permissions: z.array(z.strictObject({ column, reason: z.string().min(1).max(2000) })),
});

/** What an organisation needs to read a segment head's outputs: public. Output k is 2 x.c_k - |c_k|^2; the largest names the segment. */
export const SegmentCardDocument = z.strictObject({
  kind: z.literal("segment-card"),
  version: z.literal(1),
  name: z.string().min(1).max(200),
  headId: hash,
  featureSetId: hash,
  /** One per output: a name, and what sets the segment apart, in words. */
  segments: z.array(z.strictObject({ name: z.string().min(1).max(200), words: z.string().max(2000) })).min(2),
  training: z.strictObject({ data: z.string(), records: count, metrics: z.record(z.string(), z.number()) }),
  codeVersion: z.string().min(1),
});
export type SegmentCard = z.infer<typeof SegmentCardDocument>;

/** What a segment head's segments are, for reports: private to the organisation, since centroids tell how its people are. */
export const SegmentProfilesDocument = z
  .strictObject({
    kind: z.literal("segment-profiles"),
    version: z.literal(1),
    headId: hash,
    featureSetId: hash,
    /** [F] As `recordFeatureNames` has them. */
    featureNames: z.array(z.string().min(1)).min(1).max(65_536),
    /** One per output of the head, in its order. */
    segments: z
      .array(
        z.strictObject({
          name: z.string().min(1).max(200),
          /** What sets the segment apart; empty where nothing does. */
          words: z.string().max(2000),
          /** [F] Standardised: deviations of the column times its weight. */
          centroid: z.array(finite).min(1),
        }),
      )
      .min(2),
  })
  .refine(({ featureNames, segments }) => segments.every(({ centroid }) => centroid.length === featureNames.length), {
    path: ["segments"],
    message: "each centroid needs a number per feature name",
  });
export type SegmentProfiles = z.infer<typeof SegmentProfilesDocument>;

/** What the model owner hands to an organisation: as `DeploymentDocument`, for records. */
export const SegmentDeploymentDocument = z.strictObject({
  kind: z.literal("segment-deployment"),
  version: z.literal(1),
  featureSet: RecordFeatureSetDocument,
  params: ParamsDocument,
  keyMode: z.enum(["public", "symmetric"]),
  /** L: lanes per ciphertext, a record each. */
  lanes: count,
  maxMerges: count,
  /** Exact ones: which segment is nearest must not turn on rounding. */
  replies: RepliesDocument.extend({ step: z.literal(1) }).exactOptional(),
  cards: z.array(SegmentCardDocument).min(1),
});
export type SegmentDeployment = z.infer<typeof SegmentDeploymentDocument>;

/** What services work on: windows of machines or records of people, the arithmetic is the same. */
export type AnyDeployment = Deployment | SegmentDeployment;
export const AnyDeploymentDocument: z.ZodType<AnyDeployment> = z.discriminatedUnion("kind", [
  DeploymentDocument,
  SegmentDeploymentDocument,
]);

/** Windows come as streams for ever, records as jobs. */
export const workOfDeployment = ({ kind }: AnyDeployment): WorkKind => (kind === "deployment" ? "streams" : "jobs");
