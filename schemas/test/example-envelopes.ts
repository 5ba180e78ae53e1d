import type { EnvelopeCodec } from "../src/avro.ts";
import {
  type Batch,
  batchCodec,
  type CiphertextKind,
  type DeadLetter,
  type Delivery,
  deadLetterCodec,
  deliveryCodec,
  type Frame,
  frameCodec,
  type Gap,
  gapCodec,
  type Part,
  type Score,
  scoreCodec,
} from "../src/envelopes.ts";

/** One example per envelope, with every field off its default: what the golden files hold. */
const hash = (digit: string) => digit.repeat(64);

const kind: CiphertextKind = {
  plant: "plant-1",
  scheme: "bgv",
  keyMode: "public",
  paramsId: hash("a"),
  keyId: hash("b"),
  featureSetId: hash("c"),
};
const part: Part = {
  gateway: "gateway-7",
  epoch: 1_790_000_000_000,
  sequence: 4_294_967_297,
  block: 2,
  lanes: Uint8Array.of(0b1010_0001, 0, 0, 0x80),
  frameTimeMs: 1_790_000_030_000,
  closedAtMs: 1_790_000_030_123,
  jobId: null,
  frameCount: null,
  ciphertextHash: hash("d"),
  signature: new Uint8Array(64).fill(9),
};
const jobPart: Part = { ...part, gateway: "hr", jobId: "segments-2026", frameCount: 12, lanes: Uint8Array.of(255) };

export const frame: Frame = {
  ...kind,
  ...jobPart,
  ciphertext: Uint8Array.of(0, 1, 2, 253, 254, 255),
  signature: new Uint8Array(64).fill(9),
};
export const gap: Gap = {
  plant: "plant-1",
  gateway: "gateway-7",
  epoch: 1_790_000_000_000,
  fromSequence: 4_294_967_297,
  toSequence: 4_294_967_360,
  frames: 64,
  windows: 4_000,
  fromTimeMs: 1_790_000_000_000,
  toTimeMs: 1_790_000_060_000,
  reason: "age",
  signature: new Uint8Array(64).fill(9),
};
export const batch: Batch = {
  ...kind,
  scheme: "identity",
  keyMode: "symmetric",
  parts: [part, jobPart],
  ciphertextHash: hash("e"),
  ciphertext: Uint8Array.of(7, 7),
};
export const score: Score = {
  ...kind,
  headId: hash("f"),
  parts: [part],
  replies: [Uint8Array.of(1, 2, 3), new Uint8Array(0)],
  signature: new Uint8Array(0),
};
const delivery: Delivery = { topicId: "topic-1", partition: 3, from: 2 ** 51, offset: 2 ** 52, score: Uint8Array.of(83, 1, 0) };
const deadLetter: DeadLetter = {
  code: "RESIDUE_OUT_OF_RANGE",
  reason: "residue 5 is not below q",
  plant: "plant-1",
  gateway: "",
  receivedAtMs: 1_790_000_031_000,
  length: 27_648,
  payloadHash: hash("0"),
  payload: Uint8Array.of(70, 1, 4),
};

type Example = { readonly name: string; readonly codec: EnvelopeCodec<unknown>; readonly value: object };
const example = <T extends object>(name: string, codec: EnvelopeCodec<T>, value: T): Example => ({
  name,
  codec: codec as EnvelopeCodec<unknown>,
  value,
});

export const EXAMPLES: readonly Example[] = [
  example("frame", frameCodec, frame),
  example("batch", batchCodec, batch),
  example("score", scoreCodec, score),
  example("delivery", deliveryCodec, delivery),
  example("dead-letter", deadLetterCodec, deadLetter),
  example("gap", gapCodec, gap),
];

/** The same value with plain byte arrays, whatever kind of view each was: decoding gives Buffers. */
export function plainBytes(value: unknown): unknown {
  if (value instanceof Uint8Array) return Array.from(value);
  if (Array.isArray(value)) return value.map(plainBytes);
  if (value !== null && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, plainBytes(v)]));
  return value;
}
