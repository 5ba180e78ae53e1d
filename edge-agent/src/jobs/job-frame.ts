import { hash, type KeyObject } from "node:crypto";
import type { FrameEncryptor } from "@smile/he/backend";
import { encodeLanes, packLanes } from "@smile/he/lanes";
import { frameCodec } from "@smile/schemas/envelopes";
import type { SegmentDeployment } from "@smile/schemas/record-documents";
import { signFrame } from "@smile/schemas/signing";
import type { FrameFormat } from "../frame-format.ts";
import type { Job } from "./job-store.ts";

/** What a job needs of the model owner's deployment. */
export type JobDeployment = Pick<SegmentDeployment, "featureSet" | "params" | "keyMode" | "lanes">;

/** What every frame of one job is made with. `encryptor` has the job's key; `signingKey` is the gateway's Ed25519 secret key. */
export type JobFrameParts = {
  readonly job: Job;
  readonly format: FrameFormat;
  /** Whose lanes are the gateway's. */
  readonly block: number;
  readonly encryptor: FrameEncryptor;
  readonly signingKey: KeyObject;
};

/**
 * Encrypts records [sequence * L, sequence * L + records.length) of a job into lanes 0 and up of the gateway's block, and signs the frame.
 * @param records features [F] of each, at most L
 * @param closedAtMs by the gateway's clock, milliseconds since 1970
 * @returns bytes of a Frame envelope
 */
export function sealJobFrame(parts: JobFrameParts, sequence: number, records: readonly Int32Array[], closedAtMs: number): Uint8Array {
  const { job, format, block, encryptor, signingKey } = parts;
  const entries = records.map((features, lane) => ({ lane, features }));
  const ciphertext = encryptor.encrypt(packLanes(entries, format.params.n, format.featureCount));
  const frame = {
    ...format.kind,
    keyId: job.keyId,
    gateway: job.gateway,
    epoch: job.epoch,
    sequence,
    block,
    lanes: encodeLanes(records.keys(), format.lanes),
    frameTimeMs: job.startedAtMs,
    closedAtMs,
    jobId: job.jobId,
    frameCount: job.frameCount,
    ciphertextHash: hash("sha256", ciphertext),
    ciphertext,
  };
  return frameCodec.encode(signFrame(frame, signingKey));
}
