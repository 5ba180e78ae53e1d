import { hash, type KeyObject } from "node:crypto";
import frameStatementV1 from "./avro/frame-statement.v1.json" with { type: "json" };
import gapStatementV1 from "./avro/gap-statement.v1.json" with { type: "json" };
import scoreStatementV1 from "./avro/score-statement.v1.json" with { type: "json" };
import { avroType, encodeBehind } from "./avro.ts";
import { isSignedBy, signBytes } from "./ed25519.ts";
import type { CiphertextKind, Frame, Gap, Part, Score } from "./envelopes.ts";

/**
 * What is signed is a statement: every field but the signature, in Avro's binary form, ciphertexts and replies by their SHA-256, behind
 * a line that says what kind of statement it is. It is made from the decoded fields, so it does not depend on the version in which an
 * envelope travels, and a part that was merged into a batch still proves what its gateway signed.
 */
const frameStatement = statement("smile.frame.v1", frameStatementV1);
const gapStatement = statement("smile.gap.v1", gapStatementV1);
const scoreStatement = statement("smile.score.v1", scoreStatementV1);

/** The frame with its gateway's signature. `ciphertextHash` must be the ciphertext's: admission compares the two. */
export function signFrame(frame: Omit<Frame, "signature">, key: KeyObject): Frame {
  return { ...frame, signature: signBytes(frameStatement(frame), key) };
}

/**
 * Whether one of a gateway's keys signed this part under this kind: a frame's own, or one that was merged into a batch.
 * @param kind plant, scheme and ids; a Frame, Batch or Score has them
 */
export function isPartSigned(kind: CiphertextKind, part: Part, keys: readonly KeyObject[]): boolean {
  return isSignedBy(partStatement(kind, part), part.signature, keys);
}

/** What a gateway signs of a part: equal for two parts only when everything is equal that the signature is over. Delimits itself. */
export function partStatement(kind: CiphertextKind, part: Part): Buffer {
  const { plant, scheme, keyMode, paramsId, keyId, featureSetId } = kind;
  return frameStatement({ ...part, plant, scheme, keyMode, paramsId, keyId, featureSetId });
}

/** The gap with its gateway's signature. */
export function signGap(gap: Omit<Gap, "signature">, key: KeyObject): Gap {
  return { ...gap, signature: signBytes(gapStatement(gap), key) };
}

/** Whether one of a gateway's keys signed the gap, as it stands. */
export function isGapSigned(gap: Gap, keys: readonly KeyObject[]): boolean {
  return isSignedBy(gapStatement(gap), gap.signature, keys);
}

/**
 * The score with the model service's signature: over its head, its replies, and the parts that they answer. Not over the signatures of
 * those parts, which prove themselves, and which version 1 of the envelope leaves out.
 */
export function signScore(score: Omit<Score, "signature">, key: KeyObject): Score {
  return { ...score, signature: signBytes(scoreStatement(withReplyHashes(score)), key) };
}

/** Whether one of a service's keys signed the score, as it stands. */
export function isScoreSigned(score: Score, keys: readonly KeyObject[]): boolean {
  return isSignedBy(scoreStatement(withReplyHashes(score)), score.signature, keys);
}

function withReplyHashes({ replies, ...rest }: Omit<Score, "signature">): object {
  return { ...rest, replyHashes: replies.map((reply) => hash("sha256", reply)) };
}

function statement(what: string, schema: object): (fields: object) => Buffer {
  const type = avroType(schema);
  const head = Buffer.from(`${what}\n`);
  return (fields) => encodeBehind(head, type, fields);
}
