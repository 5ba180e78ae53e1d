import { crc32c } from "./crc32c.ts";
import type { OutRecord } from "./log.ts";

/** Records for one partition, in their order: one record batch. */
export type PartitionRecords = {
  readonly topic: string;
  readonly partition: number;
  readonly records: readonly Omit<OutRecord, "topic">[];
};

/**
 * Kafka's Produce request in version 7, for record batches of version 2: its body. Pure: bytes out. kafkajs has an encoder of its own,
 * which copies each value nine times, into buffers of powers of two that it clears first; here it is copied once. Format:
 * `ProduceRequest.json` of Kafka's clients, and "Record Batch" of Kafka's message format.
 */
export const produceRequest = { apiKey: 0, apiVersion: 7, apiName: "Produce" } as const;

/** Bytes before the body, in its memory, that are left for a request's header: its length, its keys, and the client's id. */
export const headroom = 1024;

/** -1: all replicas in sync. */
const ACKS_ALL = -1;
/** Of the record batch format. */
const MAGIC = 2;
/** Without a transaction and without idempotence. */
const NONE = -1;

/** What a record takes at most beside its key, value and headers: five lengths of a varint each, and its attributes. */
const RECORD_BYTES = 5 * 5 + 1;
/** Of a header beside its texts. */
const HEADER_BYTES = 2 * 5;
/** From the first offset to the number of records. */
const BATCH_BYTES = 61;

/**
 * The body of a request, with `headroom` before it.
 * @param parts no two of the same partition
 * @param timeoutMs what a broker may take to hear from all replicas in sync
 * @param nowMs wall clock: the records' timestamp, which the topic's own clock replaces
 */
export function encodeProduceRequest(parts: readonly PartitionRecords[], timeoutMs: number, nowMs: number): Buffer {
  const topics = Map.groupBy(parts, ({ topic }) => topic);
  const out = new Writer(parts.reduce((sum, part) => sum + bound(part), 2 + 2 + 4 + 4));
  out.int16(NONE); // transactional_id: null
  out.int16(ACKS_ALL);
  out.int32(timeoutMs);
  out.int32(topics.size);
  for (const [topic, partitions] of topics) {
    out.string(topic);
    out.int32(partitions.length);
    for (const { partition, records } of partitions) {
      out.int32(partition);
      out.sized(() => writeBatch(out, records, nowMs));
    }
  }
  return out.written();
}

function writeBatch(out: Writer, records: PartitionRecords["records"], nowMs: number): void {
  out.int64(0); // the broker gives the offset
  out.sized(() => {
    out.int32(NONE); // partition leader epoch
    out.int8(MAGIC);
    out.checked(() => {
      out.int16(0); // attributes: not compressed, the producer's time
      out.int32(records.length - 1);
      out.int64(nowMs);
      out.int64(nowMs);
      out.int64(NONE); // producer id
      out.int16(NONE); // producer epoch
      out.int32(NONE); // first sequence
      out.int32(records.length);
      for (const [i, record] of records.entries()) writeRecord(out, record, i);
    });
  });
}

function writeRecord(out: Writer, { key, value, headers = {} }: Omit<OutRecord, "topic">, offsetDelta: number): void {
  const texts = Object.entries(headers);
  const keyBytes = Buffer.byteLength(key);
  let length = 1 + 1 + varintBytes(offsetDelta) + varintBytes(keyBytes) + keyBytes + varintBytes(value.length) + value.length;
  length += varintBytes(texts.length);
  for (const text of texts.flat()) length += varintBytes(Buffer.byteLength(text)) + Buffer.byteLength(text);
  out.varint(length);
  out.int8(0); // attributes
  out.varint(0); // timestamp delta
  out.varint(offsetDelta);
  out.text(key);
  out.varint(value.length);
  out.bytes(value);
  out.varint(texts.length);
  for (const text of texts.flat()) out.text(text);
}

/** An upper bound of what a part takes. */
function bound({ topic, records }: PartitionRecords): number {
  let bytes = 2 + Buffer.byteLength(topic) + 4 + 4 + 4 + BATCH_BYTES;
  for (const { key, value, headers } of records) {
    bytes += RECORD_BYTES + Buffer.byteLength(key) + value.length;
    for (const text of headers === undefined ? [] : Object.entries(headers)) bytes += HEADER_BYTES + Buffer.byteLength(text.join(""));
  }
  return bytes;
}

/** Zigzag, as Kafka writes lengths: 0 or more, below 2^30. */
function varintBytes(value: number): number {
  let bytes = 1;
  for (let left = value * 2; left >= 0x80; left >>>= 7) bytes++;
  return bytes;
}

/** Writes Kafka's primitive types into one buffer that is large enough from the start. */
class Writer {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(size: number) {
    this.#buffer = Buffer.allocUnsafe(headroom + size).subarray(headroom);
  }

  written(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  int8(value: number): void {
    this.#at = this.#buffer.writeInt8(value, this.#at);
  }

  int16(value: number): void {
    this.#at = this.#buffer.writeInt16BE(value, this.#at);
  }

  int32(value: number): void {
    this.#at = this.#buffer.writeInt32BE(value, this.#at);
  }

  /** Of a safe integer. */
  int64(value: number): void {
    this.int32(Math.floor(value / 2 ** 32));
    this.#at = this.#buffer.writeUInt32BE(value < 0 ? 2 ** 32 + value : value % 2 ** 32, this.#at);
  }

  varint(value: number): void {
    let left = value * 2;
    for (; left >= 0x80; left >>>= 7) this.#buffer[this.#at++] = (left & 0x7f) | 0x80;
    this.#buffer[this.#at++] = left;
  }

  string(text: string): void {
    this.int16(Buffer.byteLength(text));
    this.#at += this.#buffer.write(text, this.#at);
  }

  /** Behind its length as a varint. */
  text(text: string): void {
    this.varint(Buffer.byteLength(text));
    this.#at += this.#buffer.write(text, this.#at);
  }

  bytes(bytes: Uint8Array): void {
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** What `write` writes, behind its length in 32 bits. */
  sized(write: () => void): void {
    const at = this.#skip(4);
    write();
    this.#buffer.writeInt32BE(this.#at - at - 4, at);
  }

  /** What `write` writes, behind its checksum. */
  checked(write: () => void): void {
    const at = this.#skip(4);
    write();
    this.#buffer.writeUInt32BE(crc32c(this.#buffer.subarray(at + 4, this.#at)), at);
  }

  #skip(bytes: number): number {
    this.#at += bytes;
    return this.#at - bytes;
  }
}
