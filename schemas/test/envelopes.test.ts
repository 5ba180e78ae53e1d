import { isPipelineError } from "@smile/errors/pipeline-error";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type EnvelopeCodec, envelopeCodec, MAX_ITEMS } from "../src/avro.ts";
import { encodeDeadLetter } from "../src/dead-letter.ts";
import { batchCodec, deadLetterCodec, deliveryCodec, frameCodec, scoreCodec } from "../src/envelopes.ts";
import { EXAMPLES, plainBytes } from "./example-envelopes.ts";

const text = fc.string({ unit: "grapheme", maxLength: 20 });
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString("hex"));
const bytes = fc.uint8Array({ maxLength: 60 });
/** What avsc writes faithfully: above 2^53 - 2 it throws, and below -2^52 it loses the last bit. No field of ours is negative. */
const long = fc.integer({ min: -(2 ** 52), max: Number.MAX_SAFE_INTEGER - 1 });
const int = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });

const kind = {
  plant: text,
  scheme: fc.constantFrom("bgv" as const, "identity" as const),
  keyMode: fc.constantFrom("public" as const, "symmetric" as const),
  paramsId: hash,
  keyId: hash,
  featureSetId: hash,
};
const part = {
  gateway: text,
  epoch: long,
  sequence: long,
  block: int,
  lanes: bytes,
  frameTimeMs: long,
  closedAtMs: long,
  jobId: fc.option(text),
  frameCount: fc.option(int),
  ciphertextHash: hash,
  signature: bytes,
};
const parts = fc.array(fc.record(part), { maxLength: 4 });
const ARBITRARIES: readonly [string, EnvelopeCodec<unknown>, fc.Arbitrary<unknown>][] = [
  ["frame", frameCodec as EnvelopeCodec<unknown>, fc.record({ ...kind, ...part, ciphertext: bytes })],
  ["batch", batchCodec as EnvelopeCodec<unknown>, fc.record({ ...kind, parts, ciphertextHash: hash, ciphertext: bytes })],
  [
    "score",
    scoreCodec as EnvelopeCodec<unknown>,
    fc.record({ ...kind, headId: hash, parts, replies: fc.array(bytes, { maxLength: 4 }), signature: bytes }),
  ],
  [
    "delivery",
    deliveryCodec as EnvelopeCodec<unknown>,
    fc.record({ topicId: fc.string(), partition: int, from: long, offset: long, score: bytes }),
  ],
  [
    "dead letter",
    deadLetterCodec as EnvelopeCodec<unknown>,
    fc.record({
      code: text,
      reason: text,
      plant: text,
      gateway: text,
      receivedAtMs: long,
      length: long,
      payloadHash: hash,
      payload: bytes,
    }),
  ],
];

/** The error that decoding ends in; whatever is not FRAME_MALFORMED is thrown on. */
function refused(codec: EnvelopeCodec<unknown>, message: Uint8Array): boolean {
  try {
    codec.decode(message);
  } catch (error) {
    if (!isPipelineError(error, "FRAME_MALFORMED")) throw error;
    return true;
  }
  return false;
}

/** Avro's variable-length zigzag form of an integer. */
function varint(value: number): number[] {
  const out: number[] = [];
  // In whole numbers of any size: a double loses the sign of what lies below -2^52.
  for (let rest = value < 0 ? -2n * BigInt(value) - 1n : 2n * BigInt(value); ; rest >>= 7n) {
    if (rest < 128n) return [...out, Number(rest)];
    out.push(Number(rest & 127n) | 128);
  }
}

describe("envelopes", () => {
  it.each(ARBITRARIES)("a %s comes back as it was, out of the middle of another buffer too", (_, codec, arbitrary) => {
    fc.assert(
      fc.property(arbitrary, (value) => {
        const encoded = codec.encode(value);
        const around = Buffer.concat([Buffer.alloc(3, 255), encoded, Buffer.alloc(2, 255)]);
        const view = new Uint8Array(around.buffer, around.byteOffset + 3, encoded.length);
        expect(plainBytes(codec.decode(view))).toEqual(plainBytes(value));
      }),
      { numRuns: 100, seed: 50 },
    );
  });

  it.each(EXAMPLES)("a $name that is cut anywhere, or followed by anything, is refused", ({ codec, value }) => {
    const encoded = codec.encode(value);
    for (let length = 0; length < encoded.length; length++) expect(refused(codec, encoded.subarray(0, length))).toBe(true);
    for (const tail of [[0], [1, 2, 3], [...encoded]]) expect(refused(codec, Buffer.concat([encoded, Buffer.from(tail)]))).toBe(true);
    expect(refused(codec, encoded)).toBe(false);
  });

  it.each(EXAMPLES)("a $name of another kind or version is refused, for every value of either byte", ({ codec, value }) => {
    const encoded = codec.encode(value);
    for (const at of [0, 1]) {
      for (let byte = 0; byte < 256; byte++) {
        if (byte === encoded[at]) continue;
        expect(refused(codec, Uint8Array.from(encoded).with(at, byte))).toBe(true);
      }
    }
  });

  it.each(EXAMPLES)("no kind is taken for a $name", ({ name, codec }) => {
    for (const other of EXAMPLES) if (other.name !== name) expect(refused(codec, other.codec.encode(other.value))).toBe(true);
  });

  it.each(EXAMPLES)("a $name with any byte changed is refused or decoded, never anything else", ({ codec, value }) => {
    const encoded = codec.encode(value);
    for (let at = 2; at < encoded.length; at++) {
      for (const byte of [0, 1, 0x7f, 0x80, 0xff]) refused(codec, Uint8Array.from(encoded).with(at, byte));
    }
  });

  it("lengths that lie are refused at once, without memory for what they claim", () => {
    // `parts` of a batch and `replies` of a score, just before which the fixed fields end.
    const emptyParts = batchCodec.encode({ ...(EXAMPLES[1]!.value as Parameters<typeof batchCodec.encode>[0]), parts: [] });
    // kind, version, plant with its length, scheme, key mode, three hashes.
    const before = emptyParts.subarray(0, 2 + 1 + "plant-1".length + 1 + 1 + 96);
    const ofOne = envelopeCodec<unknown>("T", [{ schema: { type: "record", name: "T", fields: [{ name: "a", type: "bytes" }] } }]);
    expect(emptyParts[before.length], "the end of an array stands where the claims will").toBe(0);
    const rssBefore = process.memoryUsage().rss;
    for (const claim of [1, 1000, 2 ** 20, 2 ** 31, 2 ** 32 - 1, 2 ** 40, 2 ** 52]) {
      expect(refused(batchCodec as EnvelopeCodec<unknown>, Buffer.concat([before, Buffer.from(varint(claim))]))).toBe(true);
      // Padding that is shorter than the claim does not help.
      const padded = Buffer.concat([before, Buffer.from(varint(claim)), Buffer.alloc(Math.min(claim - 1, 500))]);
      expect(refused(batchCodec as EnvelopeCodec<unknown>, padded)).toBe(true);
      expect(refused(ofOne, Uint8Array.of(84, 1, ...varint(claim)))).toBe(true);
      // A negative count is followed by the size of the block in bytes.
      const sized = Buffer.concat([before, Buffer.from([...varint(-claim), ...varint(0)])]);
      expect(refused(batchCodec as EnvelopeCodec<unknown>, sized)).toBe(true);
    }
    expect(process.memoryUsage().rss - rssBefore).toBeLessThan(64 * 1024 * 1024);
  });

  it("a length that is no number poisons nothing: avsc's own reader left every later message without its bytes", () => {
    const { codec, value } = EXAMPLES[0]!;
    const encoded = codec.encode(value);
    const lanesAt = encoded.indexOf(Uint8Array.of(2, 255));
    for (const groups of [1, 9, 10, 140, 160, 1000]) {
      const endless = Buffer.concat([
        encoded.subarray(0, lanesAt),
        Buffer.alloc(groups, 0x80),
        Buffer.of(0),
        encoded.subarray(lanesAt + 1),
      ]);
      expect(refused(codec, endless)).toBe(true);
      expect(plainBytes(codec.decode(encoded))).toEqual(plainBytes(value));
    }
  });

  it("every whole number from -2^52 to 2^53 - 2 is read as it was written, and no other; an int has 32 bits", () => {
    const one = (type: string) =>
      envelopeCodec<{ a: number }>("T", [{ schema: { type: "record", name: "T", fields: [{ name: "a", type }] } }]);
    const read = (type: string, a: number) => one(type).decode(Uint8Array.of(84, 1, ...varint(a)));
    for (const a of [0, -1, 2 ** 31, 2 ** 52 + 1, 2 ** 53 - 2, -(2 ** 52)]) expect(read("long", a)).toEqual({ a });
    for (const a of [2 ** 53, 2 ** 60, -(2 ** 52) - 2]) expect(() => read("long", a)).toThrow(/FRAME_MALFORMED/);
    for (const a of [2 ** 31 - 1, -(2 ** 31)]) expect(read("int", a)).toEqual({ a });
    for (const a of [2 ** 31, 2 ** 40, -(2 ** 31) - 1]) expect(() => read("int", a)).toThrow(/FRAME_MALFORMED/);
  });

  it("no array has more than 4,096 items, written or read: an empty item costs a byte on the wire and a hundred in memory", () => {
    const { codec, value } = EXAMPLES.find(({ name }) => name === "score")!;
    const withReplies = (n: number) => ({ ...value, replies: Array.from({ length: n }, () => new Uint8Array(0)) });
    const most = codec.encode(withReplies(MAX_ITEMS));
    expect((codec.decode(most) as { replies: unknown[] }).replies.length).toBe(MAX_ITEMS);
    expect(() => codec.encode(withReplies(MAX_ITEMS + 1))).toThrow(RangeError);
    // The array's block, its end, then the empty signature: one block more, of one item.
    expect(refused(codec, Buffer.concat([most.subarray(0, -2), Buffer.of(...varint(1), 0, 0, 0)]))).toBe(true);
    expect(refused(codec, Buffer.concat([most.subarray(0, -2), Buffer.of(0, 0)]))).toBe(false);
  });

  it("a text is no longer than its envelope, and one that fills it is read", () => {
    const { codec, value } = EXAMPLES[0]!;
    const jobId = "j".repeat(1 << 20);
    const encoded = codec.encode({ ...value, jobId });
    expect((codec.decode(encoded) as { jobId: string }).jobId).toBe(jobId);
    expect(refused(codec, encoded.subarray(0, 1 << 20))).toBe(true);
  });

  it("arrays in several blocks, with or without their size, are read as Avro allows them", () => {
    const codec = envelopeCodec<{ a: number[] }>("T", [
      { schema: { type: "record", name: "T", fields: [{ name: "a", type: { type: "array", items: "int" } }] } },
    ]);
    // Two items, then a block of one item that states its size of one byte, then the end.
    expect(codec.decode(Uint8Array.of(84, 1, ...varint(2), 2, 4, ...varint(-1), ...varint(1), 6, 0))).toEqual({ a: [1, 2, 3] });
  });

  it.each([
    ["a hash that is not 64 hexadecimal digits", { paramsId: "abc" }],
    ["an upper-case hash", { paramsId: "A".repeat(64) }],
    ["a number beyond 2^53", { epoch: 2 ** 53 }],
    ["a fraction", { epoch: 0.5 }],
    ["text for bytes", { ciphertext: "text" }],
    ["an unknown scheme", { scheme: "ckks" }],
    ["a missing field", { plant: undefined }],
  ])("encoding throws for %s", (_, change) => {
    const { codec, value } = EXAMPLES[0]!;
    expect(() => codec.encode({ ...value, ...change })).toThrow();
  });

  it("a version-1 message stays readable when version 2 is written, with the default of what it did not have", () => {
    const v1 = {
      type: "record",
      name: "T",
      fields: [
        { name: "a", type: "int" },
        { name: "list", type: { type: "array", items: "bytes" } },
      ],
    };
    const v2 = { ...v1, fields: [...v1.fields, { name: "b", type: "string" }] };
    type Value = { a: number; list: Uint8Array[]; b: string };
    const old = envelopeCodec<Omit<Value, "b">>("T", [{ schema: v1 }]);
    const current = envelopeCodec<Value>("T", [{ schema: v1, upgrade: (value) => ({ ...value, b: "none" }) }, { schema: v2 }]);
    expect([old.versions, current.versions]).toEqual([[1], [1, 2]]);
    const message = old.encode({ a: 5, list: [Buffer.from([1])] });
    expect(message[1]).toBe(1);
    expect(plainBytes(current.decode(message))).toEqual({ a: 5, list: [[1]], b: "none" });
    const newer = current.encode({ a: 6, list: [], b: "x" });
    expect(newer[1]).toBe(2);
    expect(current.decode(newer)).toEqual({ a: 6, list: [], b: "x" });
    // A reader of version 1 is written to in version 1, byte for byte.
    expect(current.encode({ a: 5, list: [Buffer.from([1])], b: "left out" }, 1)).toEqual(message);
    for (const version of [0, 3, 1.5]) expect(() => current.encode({ a: 5, list: [], b: "" }, version)).toThrow(RangeError);
    // Who knows version 1 only says so, and does not misread.
    expect(refused(old as EnvelopeCodec<unknown>, newer)).toBe(true);
    // Lengths lie in old versions too.
    expect(refused(current as EnvelopeCodec<unknown>, Uint8Array.of(84, 1, ...varint(5), ...varint(2 ** 32 - 1)))).toBe(true);
  });

  it("a dead letter keeps the code, the reason, the hash of the whole and the first 1,024 bytes", async () => {
    const { PipelineError } = await import("@smile/errors/pipeline-error");
    const payload = new Uint8Array(5000).fill(7);
    const error = new PipelineError("FRAME_WRONG_LENGTH", "too long", { length: 5000 });
    const letter = deadLetterCodec.decode(encodeDeadLetter(error, { plant: "p", gateway: "g" }, payload, 123));
    expect(letter).toMatchObject({
      code: "FRAME_WRONG_LENGTH",
      reason: error.message,
      plant: "p",
      gateway: "g",
      receivedAtMs: 123,
      length: 5000,
    });
    expect(letter.payload.length).toBe(1024);
    expect(letter.payloadHash).toMatch(/^[0-9a-f]{64}$/);
  });
});
