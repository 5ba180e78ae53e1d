import type { KeyObject } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import { base64Bytes, ed25519Key, hash, timeMs } from "@smile/schemas/document-fields";
import { documentId } from "@smile/schemas/documents";
import { isSignedBy, publicHalf, SIGNATURE_BYTES, signBytes, verifyingKey } from "@smile/schemas/ed25519";
import { z } from "zod";
import { MINIMUM_PEOPLE } from "./release-rules.ts";

const count = z.number().int().min(1);
const signature = base64Bytes(SIGNATURE_BYTES, SIGNATURE_BYTES);

/**
 * What an analyst wants to see, and why. The numbers are for whoever releases it, who has nothing but this; the console shows nothing
 * unless they are those of the results.
 */
export const ReleaseRequestDocument = z.strictObject({
  kind: z.literal("segment-release-request"),
  version: z.literal(1),
  plant: z.string().min(1).max(200),
  jobId: z.string().min(1).max(200),
  headId: hash,
  /** As `JobStore.resultsHash` gives it. */
  resultsHash: hash,
  /** In the whole job. */
  people: count,
  /** Groups that would be shown, and segments of which nothing would be. */
  groups: count,
  withheld: z.number().int().min(0),
  /** The smallest group that is shown. */
  minimum: z.number().int().min(MINIMUM_PEOPLE),
  /** Only groups; or also which record, by pseudonym, is in which of them. */
  scope: z.enum(["groups", "records"]),
  purpose: z.string().trim().min(1).max(2000),
  requestedAtMs: timeMs,
  /** The analyst's public key. */
  analyst: ed25519Key,
  /** The analyst's, over all of this. */
  signature,
});
export type ReleaseRequest = z.infer<typeof ReleaseRequestDocument>;

/** A request, released by somebody else than who asked, such as the works council. */
export const ReleaseDocument = z.strictObject({
  kind: z.literal("segment-release"),
  version: z.literal(1),
  request: ReleaseRequestDocument,
  releasedAtMs: timeMs,
  /** The releaser's public key. */
  releaser: ed25519Key,
  /** The releaser's, over all of this. */
  signature,
});
export type Release = z.infer<typeof ReleaseDocument>;

/** Who may ask and who may release. */
export type ReleaseKeys = { readonly analysts: readonly KeyObject[]; readonly releasers: readonly KeyObject[] };

const RESULTS = ["plant", "jobId", "headId", "resultsHash", "people", "groups", "withheld", "minimum"] as const;
/** What is about to be shown. */
export type Results = Pick<ReleaseRequest, (typeof RESULTS)[number]>;

/** The request with the analyst's signature. @param key the analyst's secret key */
export function signRequest(
  request: Results & Pick<ReleaseRequest, "scope" | "purpose" | "requestedAtMs">,
  key: KeyObject,
): ReleaseRequest {
  const asked = { ...request, kind: "segment-release-request", version: 1, analyst: publicHalf(key) } as const;
  return { ...asked, signature: signed(asked, key) };
}

/**
 * Releases exactly this request.
 * @param key the releaser's secret key
 * @throws {PipelineError} SIGNATURE_INVALID when the request is not what its analyst signed, or the key is the analyst's
 */
export function signRelease(request: ReleaseRequest, releasedAtMs: number, key: KeyObject): Release {
  const releaser = publicHalf(key);
  if (releaser === request.analyst) throw refused("the key that asked may not release");
  if (!isSigned(request, request.analyst, [verifyingKey(request.analyst)])) throw refused("the request is not what its analyst signed");
  const released = { kind: "segment-release", version: 1, request, releasedAtMs, releaser } as const;
  return { ...released, signature: signed(released, key) };
}

/**
 * Checks that these results may be shown: one of the analysts asked for them, and one of the releasers, who is not that analyst,
 * released exactly that request.
 * @throws {PipelineError} SIGNATURE_INVALID naming what is not so
 */
export function checkRelease(release: Release, results: Results, { analysts, releasers }: ReleaseKeys): void {
  const { request, releaser } = release;
  for (const field of RESULTS) {
    if (request[field] !== results[field]) throw refused(`${field} of the release is not that of these results`, { field });
  }
  if (releaser === request.analyst) throw refused("the key that asked also released");
  if (!isSigned(request, request.analyst, analysts)) throw refused("the request is not signed by an analyst's key");
  if (!isSigned(release, releaser, releasers)) throw refused("the release is not signed by a releaser's key");
}

/** One statement per document: its kind, and the hash of its canonical JSON without the signature. */
function statement({ kind, ...rest }: { readonly kind: string }): Uint8Array {
  return Buffer.from(`smile.${kind}.v1\n${documentId({ kind, ...rest })}`);
}

function signed(document: { readonly kind: string }, key: KeyObject): string {
  return Buffer.from(signBytes(statement(document), key)).toString("base64");
}

/** Whether the document is signed by the key that it names, and that key is one of these. */
function isSigned(document: ReleaseRequest | Release, named: string, keys: readonly KeyObject[]): boolean {
  const { signature, ...rest } = document;
  const own = keys.filter((key) => publicHalf(key) === named);
  return isSignedBy(statement(rest), Buffer.from(signature, "base64"), own);
}

function refused(what: string, facts: Record<string, string> = {}): PipelineError {
  return new PipelineError("SIGNATURE_INVALID", what, facts);
}
