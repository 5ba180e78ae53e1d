import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { encodeRecord } from "@smile/features/records/record-encoder";
import type { RecordFeatureSet, RecordValues } from "@smile/features/records/record-spec";
import { IDENTITY_KEY } from "@smile/he/identity-backend";
import { decodeLanes } from "@smile/he/lanes";
import { plan } from "@smile/he/planner";
import { residueAt } from "@smile/he/residues";
import { decodeFull } from "@smile/he/wire";
import { type Frame, frameCodec } from "@smile/schemas/envelopes";
import { paramsFromDocument, paramsToDocument } from "@smile/schemas/params-document";
import { isPartSigned } from "@smile/schemas/signing";
import { frameFormat } from "../../src/frame-format.ts";
import type { JobDeployment } from "../../src/jobs/job-frame.ts";
import type { JobParts } from "../../src/jobs/job-sender.ts";
import type { JobContent } from "../../src/jobs/job-store.ts";
import type { FrameSender } from "../../src/publisher.ts";
import { signingKey } from "../fixture.ts";

export const featureSet: RecordFeatureSet = {
  kind: "record-feature-set",
  version: 1,
  name: "test",
  columns: [
    { kind: "numeric", column: "tenure", mean: 6, deviation: 3, weight: 1 },
    { kind: "categorical", column: "site", values: ["north", "south"], shares: [0.5, 0.25], weight: 1 },
  ],
  clip: 4,
  quantise: { bits: 8 },
};
const width = 3;

const { params } = plan({
  scheme: "identity",
  featureCount: width,
  featureBits: 8,
  heads: [{ weights: [new Int32Array(width).fill(3)], bias: [0] }],
  keyMode: "public",
  maxMerges: 1,
  modelPrivacy: "compact",
});
export const lanes = 3;
export const deployment: JobDeployment = { featureSet, params: paramsToDocument(params), keyMode: "public", lanes };
const { kind } = frameFormat("plant", deployment);

export const keyId = "cd".repeat(32);

export function contentFor(records: number, fileHash = "ab".repeat(32)): JobContent {
  const { featureSetId, paramsId } = kind;
  return { plant: "plant", gateway: "gateway-1", fileHash, featureSetId, paramsId, keyId, records, lanes };
}

export function someRecords(count: number): RecordValues[] {
  return Array.from({ length: count }, (_, i) => ({ tenure: String(i % 13), site: ["north", "south", "west"][i % 3]! }));
}

export async function* streamOf(records: readonly RecordValues[]): AsyncGenerator<RecordValues> {
  yield* records;
}

export function jobParts(changes: Pick<JobParts, "store" | "sender" | "records"> & Partial<JobParts>): JobParts {
  return {
    jobId: "job",
    plant: "plant",
    gateway: "gateway-1",
    deployment,
    key: { keyId, bytes: IDENTITY_KEY },
    signingKey,
    retryMs: 1,
    ...changes,
  };
}

/** Takes every frame at its next turn; the first content under an id stands, as at the broker's other end. */
export class FakeBroker implements FrameSender {
  readonly frames = new Map<string, Frame>();
  deliveries = 0;
  underWay = 0;
  mostUnderWay = 0;
  /** Called before a frame is taken; what it throws or waits for, the sender does. */
  before: (sequence: number, stop: AbortSignal) => void | Promise<void> = () => {};

  async send(envelope: Uint8Array, stop: AbortSignal): Promise<void> {
    this.mostUnderWay = Math.max(this.mostUnderWay, ++this.underWay);
    try {
      const frame = frameCodec.decode(envelope);
      await this.before(frame.sequence, stop);
      this.deliveries++;
      const id = `${frame.gateway}/${frame.epoch}/${frame.sequence}`;
      const first = this.frames.get(id);
      if (first === undefined) this.frames.set(id, frame);
      else if (contentOf(first).join() !== contentOf(frame).join()) throw new Error(`${id} came with other content`);
    } finally {
      this.underWay--;
    }
  }

  /** All records that arrived, by frame and lane. */
  content(): string[] {
    const frames = [...this.frames.values()].toSorted((a, b) => a.sequence - b.sequence);
    return frames.flatMap(contentOf);
  }
}

/** Lane and features of each record, read as the identity scheme leaves them. @throws {Error} when the gateway did not sign it */
function contentOf(frame: Frame): string[] {
  if (!isPartSigned(frame, frame, [signingKey])) throw new Error(`frame ${frame.sequence} is not signed by its gateway`);
  const { c0 } = decodeFull(paramsFromDocument(deployment.params), frame.ciphertext);
  const integer = (i: number) => {
    const residue = residueAt(c0, i);
    return Number(residue > params.q / 2n ? residue - params.q : residue);
  };
  return decodeLanes(frame.lanes, lanes).map((lane) => {
    const features = Array.from({ length: width }, (_, f) => integer(lane * width + f));
    return `${frame.sequence}.${frame.block}.${lane}: ${features}`;
  });
}

/** What has to arrive for these records, from the encoder alone. */
export function expectedContent(records: readonly RecordValues[]): string[] {
  return records.map((record, i) => `${Math.floor(i / lanes)}.0.${i % lanes}: ${encodeRecord(featureSet, record).features.join(",")}`);
}

export function newFolder(): string {
  return mkdtempSync(join(tmpdir(), "smile-job-"));
}

export function csvFile(content: string | Uint8Array): string {
  const path = join(newFolder(), "records.csv");
  writeFileSync(path, content);
  return path;
}

export async function refusalOf(work: Promise<unknown>): Promise<PipelineError> {
  const error = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  if (!(error instanceof PipelineError)) throw new Error("it was not refused", { cause: error });
  return error;
}
