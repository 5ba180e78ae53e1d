import { createRequire } from "node:module";
import fc from "fast-check";
import { expect, test } from "vitest";
import { crc32c } from "../src/crc32c.ts";
import { encodeProduceRequest } from "../src/kafka-produce.ts";

type Decoder = {
  buffer: Buffer;
  offset: number;
  readInt16(): number;
  readInt32(): number;
  readString(): string;
  readBytes(length: number): Buffer;
};
type Decoded = {
  readonly firstOffset: string;
  readonly lastOffsetDelta: number;
  readonly maxTimestamp: string;
  readonly records: readonly { offset: string; timestamp: string; key: Buffer; value: Buffer; headers: Record<string, Buffer> }[];
};
const load = createRequire(import.meta.url);
const DecoderOf = load("kafkajs/src/protocol/decoder") as new (bytes: Buffer) => Decoder;
const decodeBatch = load("kafkajs/src/protocol/recordBatch/v0/decoder") as (decoder: Decoder) => Promise<Decoded>;

const names = fc.string({ unit: "grapheme", minLength: 1, maxLength: 70 });
// What kafkajs makes of a header that is named as what every object has is its own affair.
const headerNames = names.filter((name) => !(name in {}));
const record = fc.record(
  {
    key: fc.oneof(names, fc.constant("")),
    value: fc.uint8Array({ maxLength: 300 }),
    headers: fc.dictionary(headerNames, fc.string({ maxLength: 40 }), { maxKeys: 3 }),
  },
  { requiredKeys: ["key", "value"] },
);
const parts = fc.uniqueArray(
  fc.record({
    topic: fc.constantFrom("smile.frames.v1", "smile.batches.v1", "ä"),
    partition: fc.nat({ max: 100 }),
    records: fc.array(record, { minLength: 1, maxLength: 130 }),
  }),
  { minLength: 1, maxLength: 6, selector: ({ topic, partition }) => `${topic}/${partition}` },
);

test("kafkajs reads every record of a request as it was given, and each batch has its checksum", async () => {
  await fc.assert(
    fc.asyncProperty(parts, async (given) => {
      const nowMs = 1_795_380_000_123;
      const request = new DecoderOf(encodeProduceRequest(given, 15_000, nowMs));
      expect([request.readInt16(), request.readInt16(), request.readInt32()]).toEqual([-1, -1, 15_000]);
      const found = new Map<string, unknown[]>();
      for (let topics = request.readInt32(); topics > 0; topics--) {
        const topic = request.readString();
        for (let partitions = request.readInt32(); partitions > 0; partitions--) {
          const name = `${topic}/${request.readInt32()}`;
          const batch = request.readBytes(request.readInt32());
          expect(batch.readUInt32BE(17)).toBe(crc32c(batch.subarray(21)));
          const { records, firstOffset, lastOffsetDelta, maxTimestamp } = await decodeBatch(new DecoderOf(batch));
          expect([firstOffset, lastOffsetDelta, maxTimestamp]).toEqual(["0", records.length - 1, `${nowMs}`]);
          found.set(
            name,
            records.map(({ offset, timestamp, key, value, headers }, i) => {
              expect([offset, timestamp]).toEqual([`${i}`, `${nowMs}`]);
              const texts = Object.entries(headers).map(([header, text]) => [header, text.toString()] as const);
              return { key: key.toString(), value: new Uint8Array(value), headers: Object.fromEntries(texts) };
            }),
          );
        }
      }
      expect(request.offset).toBe(request.buffer.length);
      const expected = given.map(
        ({ topic, partition, records }) =>
          [`${topic}/${partition}`, records.map(({ key, value, headers }) => ({ key, value, headers: { ...headers } }))] as const,
      );
      expect(found).toEqual(new Map(expected));
    }),
    { seed: 5, numRuns: 40 },
  );
});

test("a value of several megabytes has lengths of four bytes", async () => {
  const value = new Uint8Array(3_000_000).fill(7);
  const body = encodeProduceRequest([{ topic: "t", partition: 0, records: [{ key: "k", value }] }], 1, 1);
  const batch = body.subarray(2 + 2 + 4 + 4 + 3 + 4 + 4 + 4);
  const { records } = await decodeBatch(new DecoderOf(batch));
  expect(Buffer.compare(records[0]!.value, value)).toBe(0);
});
