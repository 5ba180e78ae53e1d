import type { KeyMode, Scheme } from "@smile/he/params";
import batchV1 from "./avro/batch.v1.json" with { type: "json" };
import batchV2 from "./avro/batch.v2.json" with { type: "json" };
import deadLetterV1 from "./avro/dead-letter.v1.json" with { type: "json" };
import deliveryV1 from "./avro/delivery.v1.json" with { type: "json" };
import frameV1 from "./avro/frame.v1.json" with { type: "json" };
import gapV1 from "./avro/gap.v1.json" with { type: "json" };
import scoreV1 from "./avro/score.v1.json" with { type: "json" };
import scoreV2 from "./avro/score.v2.json" with { type: "json" };
import { envelopeCodec } from "./avro.ts";

/** What names a frame for good: no two frames share it, and the same frame sent again carries it again. */
export type MessageId = { readonly gateway: string; readonly epoch: number; readonly sequence: number };

/** What ciphertexts must have in common to be added, and to be scored by the same heads. Ids are 64 hexadecimal digits. */
export type CiphertextKind = {
  readonly plant: string;
  readonly scheme: Scheme;
  readonly keyMode: KeyMode;
  readonly paramsId: string;
  readonly keyId: string;
  readonly featureSetId: string;
};

/** Where the windows of one frame stand, and when they ended. */
export type Part = MessageId & {
  /** Which ciphertext's worth of the gateway's lanes: global lane = block * L + lane. */
  readonly block: number;
  /** Occupied lanes, as `encodeLanes` of @smile/he/lanes writes them. */
  readonly lanes: Uint8Array;
  /** End of the windows, event time in milliseconds since 1970. */
  readonly frameTimeMs: number;
  /** When the gateway closed the windows, by its own clock, in milliseconds since 1970. */
  readonly closedAtMs: number;
  /** A batch job's id and its number of frames; null for streams. */
  readonly jobId: string | null;
  readonly frameCount: number | null;
  /** SHA-256 of the frame's ciphertext. */
  readonly ciphertextHash: string;
  /** The gateway's, over all of this and the frame's kind: see signing.ts. Empty in batches and scores of version 1. */
  readonly signature: Uint8Array;
};

/** A gateway's windows of one time, encrypted. */
export type Frame = CiphertextKind & Part & { readonly ciphertext: Uint8Array };

/**
 * Frames of a gateway that were sealed and will never be sent: its spool was full ("bytes") or they were too old ("age"). What its
 * spool knows of them; one that was sent before a crash, its acknowledgement lost, may have arrived all the same.
 */
export type Gap = {
  readonly plant: string;
  readonly gateway: string;
  readonly epoch: number;
  /** First and last sequence that is missing; every one between is. */
  readonly fromSequence: number;
  readonly toSequence: number;
  /** How many frames that is, and the windows in them. */
  readonly frames: number;
  readonly windows: number;
  /** Earliest and latest end of those windows, event time in milliseconds since 1970. */
  readonly fromTimeMs: number;
  readonly toTimeMs: number;
  readonly reason: "bytes" | "age";
  /** The gateway's. */
  readonly signature: Uint8Array;
};

/** Frames of one kind whose lanes are disjoint, added into one ciphertext. */
export type Batch = CiphertextKind & {
  readonly parts: readonly Part[];
  readonly ciphertextHash: string;
  readonly ciphertext: Uint8Array;
};

/** The encrypted scores of a batch by one head: a reply per output, each over the occupied lanes of all parts in ascending order. */
export type Score = CiphertextKind & {
  readonly headId: string;
  readonly parts: readonly Part[];
  readonly replies: readonly Uint8Array[];
  /** The model service's, over all of this. */
  readonly signature: Uint8Array;
};

/** A score or a gap on its way to the plant, with what the plant's cursor needs. */
export type Delivery = {
  /** Where `from` and `offset` count: a partition of a topic, which has another id when the log was made anew. */
  readonly topicId: string;
  readonly partition: number;
  /** In [from, offset) is nothing of this plant's: who has stored everything below `from` has, with this one, everything up to `offset`. */
  readonly from: number;
  readonly offset: number;
  /** A Score envelope, or a Gap envelope: their first bytes differ. */
  readonly score: Uint8Array;
};

/** What was refused, why, and enough of it to find it again. */
export type DeadLetter = {
  readonly code: string;
  readonly reason: string;
  readonly plant: string;
  readonly gateway: string;
  readonly receivedAtMs: number;
  readonly length: number;
  readonly payloadHash: string;
  /** The first bytes of what was refused, at most 1024. */
  readonly payload: Uint8Array;
};

/** Version 1 had no signatures in its parts: whoever asks for them refuses it. */
function withSignatures<T extends { readonly parts: readonly Part[] }>(old: T): T {
  return { ...old, parts: old.parts.map((part) => ({ ...part, signature: new Uint8Array(0) })) };
}

export const frameCodec = envelopeCodec<Frame>("F", [{ schema: frameV1 }]);
export const gapCodec = envelopeCodec<Gap>("G", [{ schema: gapV1 }]);
export const batchCodec = envelopeCodec<Batch>("B", [{ schema: batchV1, upgrade: withSignatures }, { schema: batchV2 }]);
export const scoreCodec = envelopeCodec<Score>("S", [{ schema: scoreV1, upgrade: withSignatures }, { schema: scoreV2 }]);
export const deliveryCodec = envelopeCodec<Delivery>("D", [{ schema: deliveryV1 }]);
export const deadLetterCodec = envelopeCodec<DeadLetter>("X", [{ schema: deadLetterV1 }]);
