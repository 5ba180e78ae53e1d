/** Longest form of a 64-bit integer in Avro: ten groups of seven bits. */
const MAX_VARINT_BYTES = 10;
/** What avsc writes faithfully: beyond 2^53 - 2 it throws, below -2^52 it loses the last bit. */
const MAX_LONG = Number.MAX_SAFE_INTEGER - 1;
const MIN_LONG = -(2 ** 52);

/**
 * Reads Avro's primitive values out of bytes from outside, in the place of avsc's own reader. That one accepts integers of any length:
 * a varint of 150 bytes comes out as NaN, and as a length it leaves the buffer pool that all later messages share unusable. It also reads
 * on past the end. This one stops at the first value that cannot be.
 */
export class AvroReader {
  readonly buf: Buffer;
  pos = 0;
  readonly #copies: boolean;

  /** @param copies whether byte strings are copies, so that what is kept of a message does not keep the whole message */
  constructor(bytes: Uint8Array, copies = true) {
    this.buf = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#copies = copies;
  }

  /** @throws {RangeError} when the integer does not end, is not in its shortest form, or is none that avsc writes faithfully */
  readLong(): number {
    // Zigzag: the lowest bit is the sign. Kept apart from the others, since together they pass 2^53.
    let halved = 0;
    let negative = false;
    for (let k = 0; k < MAX_VARINT_BYTES; k++) {
      const byte = this.buf[this.pos++];
      if (byte === undefined) throw new RangeError("an integer does not end");
      if (k === 0) {
        negative = (byte & 1) === 1;
        halved = (byte & 0x7f) >> 1;
      } else halved += (byte & 0x7f) * 2 ** (7 * k - 1);
      if (byte >= 0x80) continue;
      if (byte === 0 && k > 0) throw new RangeError("an integer is written longer than it need be");
      const value = negative ? -halved - 1 : halved;
      if (value > MAX_LONG || value < MIN_LONG) throw new RangeError("an integer is out of range");
      return value;
    }
    throw new RangeError("an integer has more than 64 bits");
  }

  /** @throws {RangeError} as `readLong`, and for more than 32 bits */
  readInt(): number {
    const value = this.readLong();
    if (value !== (value | 0)) throw new RangeError("an integer has more than 32 bits");
    return value;
  }

  skipLong(): void {
    this.readLong();
  }

  readFixed(length: number): Buffer {
    const bytes = this.#take(length);
    return this.#copies ? Buffer.from(bytes) : bytes;
  }

  readBytes(): Buffer {
    return this.readFixed(this.readLong());
  }

  readString(): string {
    return this.#take(this.readLong()).toString("utf8");
  }

  #take(length: number): Buffer {
    if (length < 0 || length > this.buf.length - this.pos) throw new RangeError("a length goes beyond the bytes that are there");
    this.pos += length;
    return this.buf.subarray(this.pos - length, this.pos);
  }
}
