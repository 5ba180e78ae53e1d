import { createHash } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { FeatureSet } from "@smile/features/spec";
import { LARGEST_REPLY_BITS } from "@smile/he/replies";
import canonicalize from "canonicalize";
import { z } from "zod";
import { hash } from "./document-fields.ts";
import { NAME } from "./topics.ts";

const positive = z.number().positive();
const count = z.number().int().min(1);
const names = z.array(z.string().min(1)).min(1);
const numbers = z.array(z.number());

const regimes = z.strictObject({
  /** Empty where there is one regime only. */
  settings: z.array(z.string().min(1)),
  scale: z.array(positive),
  centroids: z.array(numbers).min(1),
  mean: z.array(numbers).min(1),
  deviation: z.array(z.array(positive)).min(1),
  clip: positive,
});

const lift = z.discriminatedUnion("kind", [
  z.strictObject({
    kind: z.literal("statistics"),
    statistics: z.array(z.enum(["mean", "last", "slope", "deviation", "minimum", "maximum"])).min(1),
    minimumRows: count,
  }),
  z.strictObject({
    kind: z.literal("degradation"),
    averages: z.array(positive.max(1)).min(1),
    slopeRows: count,
    baselineRows: count,
    warmupRows: z.number().int().min(0),
  }),
]);

/** See @smile/features/spec: public, immutable; its id names it in every envelope. */
export const FeatureSetDocument: z.ZodType<FeatureSet> = z.strictObject({
  kind: z.literal("feature-set"),
  version: z.literal(1),
  name: z.string().min(1),
  sensors: names,
  window: z.strictObject({ lengthMs: count, hopMs: count, latenessMs: z.number().int().min(0) }),
  regimes: regimes.nullable(),
  lift,
  standardise: z.strictObject({ mean: numbers, deviation: z.array(positive), clip: positive }),
  fourier: z.strictObject({ seed: z.number().int(), width: count, bandwidth: positive }).nullable(),
  quantise: z.strictObject({ bits: z.number().int().min(2).max(16) }),
});

/** The integer head: private to the model service. Score k = sum of weights[k][f] * x[f] + bias[k]; times `scale` it is a real number. */
export const HeadDocument = z
  .strictObject({
    kind: z.literal("head"),
    version: z.literal(1),
    featureSetId: hash,
    outputs: count,
    /** [outputs][F] */
    weights: z.array(z.array(z.number().int())).min(1),
    bias: z.array(z.number().int()),
    scale: positive,
    /** Largest |score| over all features within their bits and all outputs. */
    worstCase: z.number().min(0),
  })
  .superRefine(({ outputs, weights, bias }, context) => {
    const refuse = (path: string, message: string) => context.addIssue({ code: "custom", path: [path], message });
    if (weights.length !== outputs) refuse("weights", "must have one row per output");
    if (bias.length !== outputs) refuse("bias", "must have one value per output");
    if (weights.some((row) => row.length !== weights[0]!.length)) refuse("weights", "must have rows of one length");
  });
export type Head = z.infer<typeof HeadDocument>;

/** What a plant needs to read a head's scores, and where they come from: public. */
export const ModelCardDocument = z.strictObject({
  kind: z.literal("model-card"),
  version: z.literal(1),
  name: z.string().min(1),
  headId: hash,
  featureSetId: hash,
  outputs: names,
  /** Real score = integer score * scale, then calibrated, linked and limited to `range`. */
  scale: positive,
  calibration: z.strictObject({ slope: z.number(), intercept: z.number() }).nullable(),
  link: z.enum(["identity", "logistic"]),
  range: z.tuple([z.number(), z.number()]).nullable(),
  /** What a risk is: "probability", "cycles". */
  unit: z.string().min(1),
  /** Rounding of replies changes no risk by as much as this, in `unit`. Absent: the scores are exact. */
  precision: positive.exactOptional(),
  /** An alert is raised at `raise` and cleared at `clear`; "below" for remaining life, "above" for probabilities. */
  alert: z.strictObject({ direction: z.enum(["above", "below"]), raise: z.number(), clear: z.number() }),
  training: z.strictObject({
    data: z.string(),
    machines: count,
    windows: count,
    metrics: z.record(z.string(), z.number()),
  }),
  codeVersion: z.string().min(1),
});
export type ModelCard = z.infer<typeof ModelCardDocument>;

export const ParamsDocument = z.strictObject({
  scheme: z.enum(["bgv", "identity"]),
  n: z.union([z.literal(2048), z.literal(4096)]),
  q: z.string().regex(/^[0-9]{9,19}$/, "must be a decimal number"),
  t: z.number().int().min(2),
});

/**
 * Replies under the modulus 2^bits, with scores right to a step, a power of two (see @smile/he/replies); absent: whole replies. Both ends
 * take it from their copy of the deployment, never from an envelope.
 */
export const RepliesDocument = z.strictObject({
  bits: z.number().int().min(2).max(LARGEST_REPLY_BITS),
  step: z.number().refine((step) => step >= 1 && step < 2 ** 50 && Number.isInteger(Math.log2(step)), "must be a power of two"),
});

/** What the model owner hands to a plant: the feature set, the parameters that were planned for its heads, and their cards. */
export const DeploymentDocument = z.strictObject({
  kind: z.literal("deployment"),
  version: z.literal(1),
  featureSet: FeatureSetDocument,
  params: ParamsDocument,
  keyMode: z.enum(["public", "symmetric"]),
  /** L: lanes per ciphertext. */
  lanes: count,
  maxMerges: count,
  replies: RepliesDocument.exactOptional(),
  cards: z.array(ModelCardDocument).min(1),
});
export type Deployment = z.infer<typeof DeploymentDocument>;

/** A public key as it is registered at the service and handed to gateways. */
export const PublicKeyDocument = z.strictObject({
  kind: z.literal("public-key"),
  version: z.literal(1),
  plant: z.string().regex(NAME),
  /** The gateway whose key it is in symmetric mode; null for the plant-wide key. */
  gateway: z.string().regex(NAME).nullable(),
  paramsId: hash,
  /** SHA-256 of the key's bytes. */
  keyId: hash,
  publicKey: z.base64(),
});
export type PublicKey = z.infer<typeof PublicKeyDocument>;

/** A gateway's own secret key, in symmetric mode: it encrypts and decrypts that gateway's frames, and nobody else's. */
export const GatewayKeyDocument = z.strictObject({
  kind: z.literal("gateway-secret-key"),
  version: z.literal(1),
  plant: z.string().regex(NAME),
  gateway: z.string().regex(NAME),
  paramsId: hash,
  /** SHA-256 of the public key that belongs to it. */
  keyId: hash,
  secretKey: z.base64(),
});
export type GatewayKey = z.infer<typeof GatewayKeyDocument>;

/** Which lanes a gateway may fill, and the machine behind each: private to the plant. */
export const LeaseDocument = z.strictObject({
  gateway: z.string().regex(NAME),
  /** Global lane of the first machine; machine i has lane firstLane + i, which is lane (firstLane + i) % L of block floor((firstLane + i) / L). */
  firstLane: z.number().int().min(0),
  machines: names,
});
export type Lease = z.infer<typeof LeaseDocument>;

/** The id of a document: SHA-256 of its canonical JSON (RFC 8785), 64 hexadecimal digits. */
export function documentId(document: object): string {
  const text = canonicalize(document);
  if (text === undefined) throw new PipelineError("DOCUMENT_INVALID", "this value has no canonical JSON");
  return createHash("sha256").update(text).digest("hex");
}

/**
 * Reads a document out of parsed JSON.
 * @param what names the document in the error, for instance its path
 * @throws {PipelineError} DOCUMENT_INVALID naming each wrong field, the first ten
 */
export function parseDocument<T>(schema: z.ZodType<T>, json: unknown, what: string): T {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  // What is wrong may quote a name as long as the document.
  const wrong = parsed.error.issues.slice(0, 10).map(({ path, message }) => `${path.join(".") || "top level"}: ${message}`.slice(0, 300));
  throw new PipelineError("DOCUMENT_INVALID", `${what}: ${wrong.join("; ")}`);
}
