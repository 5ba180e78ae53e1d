import { PipelineError } from "@smile/errors/pipeline-error";
import { z } from "zod";
import { ed25519Key, versions } from "./document-fields.ts";

const mqttUrl = z.url({ protocol: /^mqtts?$/ }).max(2000);

/** What a service tells its plants about itself: public. A plant takes it from a person whom it trusts, and keeps its own copy. */
export const ServiceDocument = z.strictObject({
  kind: z.literal("service"),
  version: z.literal(1),
  name: z.string().min(1).max(200),
  framesUrl: mqttUrl,
  scoresUrl: mqttUrl,
  /** PEM: what the certificates of its brokers are issued by; null without TLS. */
  certificateAuthority: z.string().max(16_384).nullable(),
  /** Keys with which its model services sign scores. */
  scoreSigners: z.array(ed25519Key).min(1).max(100),
  /** Versions of envelopes that it takes from gateways. */
  reads: z.strictObject({ frame: versions, gap: versions }),
});
export type ServiceDocument = z.infer<typeof ServiceDocument>;

/**
 * The version to write: the highest that both sides know.
 * @param kind names the envelope in the error
 * @param written versions that this program writes: a codec's `versions`
 * @param read versions that the other side reads, by its register or service document
 * @throws {PipelineError} VERSION_UNSUPPORTED when there is none
 */
export function negotiate(kind: string, written: readonly number[], read: readonly number[]): number {
  const common = written.filter((version) => read.includes(version));
  if (common.length > 0) return Math.max(...common);
  throw new PipelineError(
    "VERSION_UNSUPPORTED",
    `this program writes ${kind} envelopes in versions ${written.join(", ")}; the reader takes ${read.join(", ")}`,
  );
}
