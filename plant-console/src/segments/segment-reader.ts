import { PipelineError } from "@smile/errors/pipeline-error";
import { nearestSegment } from "@smile/features/records/nearest-segment";
import { paramsId } from "@smile/he/params";
import { documentId } from "@smile/schemas/documents";
import type { Part, Score } from "@smile/schemas/envelopes";
import { paramsFromDocument } from "@smile/schemas/params-document";
import type { SegmentCard, SegmentDeployment } from "@smile/schemas/record-documents";
import { keyOf, placesOf } from "../score-places.ts";
import type { DecryptionKey, ScoreKeys } from "../score-reader.ts";
import { openScore, type Trust } from "../verification.ts";

/** Most segments of a head: a stored segment is a byte, and one value of it says that no record is there. */
export const MOST_SEGMENTS = 255;

/** The segment of the record with this index: its place among the job's records, from 0. */
export type SegmentedRecord = { readonly index: number; readonly segment: number };

/** What one score says of a job. `gateway` and `epoch` sealed its frames; `lanes` is L, records per full frame; `segments` is K. */
export type ReadSegments = {
  readonly jobId: string;
  readonly headId: string;
  readonly gateway: string;
  readonly epoch: number;
  readonly frameCount: number;
  readonly lanes: number;
  readonly segments: number;
  /** Every record of the score's frames, by ascending lane. */
  readonly records: readonly SegmentedRecord[];
  /** Records of gateways whose keys were revoked; dropped. */
  readonly revokedRecords: number;
};

/** A job's facts, the same in every part of a score. */
type Job = Pick<ReadSegments, "jobId" | "gateway" | "epoch" | "frameCount">;

/** Turns score envelopes of a job into segments of its records. Throws for what is not this plant's, and does not go on with half of it. */
export class SegmentReader {
  readonly #plant: string;
  readonly #deployment: SegmentDeployment;
  readonly #paramsId: string;
  readonly #featureSetId: string;
  readonly #cards: ReadonlyMap<string, SegmentCard>;
  readonly #keys: ScoreKeys;

  /** @throws {PipelineError} DOCUMENT_INVALID when a card is of another feature set, or has more than `MOST_SEGMENTS` segments */
  constructor({ plant, deployment, keys }: { plant: string; deployment: SegmentDeployment; keys: ScoreKeys }) {
    this.#plant = plant;
    this.#deployment = deployment;
    this.#paramsId = paramsId(paramsFromDocument(deployment.params));
    this.#featureSetId = documentId(deployment.featureSet);
    this.#cards = new Map(deployment.cards.map((card) => [card.headId, card]));
    this.#keys = keys;
    for (const { name, headId, featureSetId, segments } of deployment.cards) {
      if (featureSetId !== this.#featureSetId)
        throw new PipelineError("DOCUMENT_INVALID", `card ${name}: featureSetId is not the deployment's`, { headId });
      if (segments.length > MOST_SEGMENTS)
        throw new PipelineError("DOCUMENT_INVALID", `card ${name}: segments are more than ${MOST_SEGMENTS}`, { headId });
    }
  }

  /**
   * @param bytes a Score envelope
   * @throws {PipelineError} FRAME_MALFORMED; SIGNATURE_INVALID; SCORE_MISMATCH naming the field that is not this plant's, or not that of
   *   one job; KEY_UNKNOWN with the `paramsId` and `keyId` of a key that is not open; LANES_INVALID; FRAME_WRONG_LENGTH or
   *   RESIDUE_OUT_OF_RANGE for a reply
   */
  read(bytes: Uint8Array, trust: Trust): ReadSegments {
    own("plant", trust.plant.plant === this.#plant);
    const { score, revoked } = openScore(bytes, trust);
    const { card, key } = this.#check(score);
    const job = jobOf(score.parts);
    const places = placesOf(score.parts, key, this.#deployment.lanes);
    const lanes = places.map(({ lane }) => lane);
    const perSegment = score.replies.map((reply) => key.decryptor.decrypt(reply, lanes));
    const records: SegmentedRecord[] = [];
    places.forEach(({ part, lane }, i) => {
      if (revoked.has(part)) return;
      const index = part.sequence * this.#deployment.lanes + lane;
      records.push({ index, segment: nearestSegment(perSegment.map((scores) => scores[i]!)) });
    });
    return {
      ...job,
      headId: card.headId,
      lanes: this.#deployment.lanes,
      segments: card.segments.length,
      records,
      revokedRecords: places.length - records.length,
    };
  }

  #check(score: Score): { card: SegmentCard; key: DecryptionKey } {
    const deployed = this.#deployment;
    own("scheme", score.scheme === deployed.params.scheme);
    own("keyMode", score.keyMode === deployed.keyMode);
    own("paramsId", score.paramsId === this.#paramsId);
    own("featureSetId", score.featureSetId === this.#featureSetId);
    const card = this.#cards.get(score.headId);
    own("headId", card !== undefined);
    own("replies", score.replies.length === card!.segments.length);
    own("parts", score.parts.length > 0 && (deployed.keyMode === "public" || score.parts.length === 1));
    return { card: card!, key: keyOf(score, this.#keys) };
  }
}

/** A job's id names its people file. */
const JOB_ID = /^[A-Za-z0-9_-]{1,64}$/;

/** The one job that all parts are of; a job's frames are numbered from 0 within an epoch of their own. */
function jobOf(parts: readonly Part[]): Job {
  const { jobId, frameCount, gateway, epoch } = parts[0]!;
  if (jobId === null || frameCount === null)
    throw new PipelineError("SCORE_MISMATCH", "jobId of the score is missing: it is a stream's, not a job's", { field: "jobId" });
  own("jobId", JOB_ID.test(jobId));
  for (const part of parts) {
    own("jobId", part.jobId === jobId);
    own("frameCount", part.frameCount === frameCount);
    own("gateway", part.gateway === gateway);
    own("epoch", part.epoch === epoch);
    own("sequence", part.sequence >= 0 && part.sequence < frameCount);
  }
  return { jobId, frameCount, gateway, epoch };
}

function own(field: keyof Score | keyof Part, matches: boolean): void {
  if (!matches) throw new PipelineError("SCORE_MISMATCH", `${field} of the score is not this plant's, or not this job's`, { field });
}
