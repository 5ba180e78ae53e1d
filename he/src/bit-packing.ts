/** Bytes of `count` numbers of `bits` bits each, packed without gaps. */
export const bitPackedLength = (count: number, bits: number): number => Math.ceil((count * bits) / 8);

const HIGH = 2 ** 32;

/**
 * Packs whole numbers into a little-endian bit stream. For residues modulo a power of two, which are narrower than those of a prime
 * (see residues.ts) and fit a double.
 * @param values each from 0 to 2^bits - 1
 * @param bits 1 to 52
 * @returns bitPackedLength(values.length, bits) bytes
 */
export function packBits(values: Float64Array, bits: number): Uint8Array {
  // With two words to spare, so that no value needs a case of its own at the end.
  const words = new Uint32Array(Math.ceil((values.length * bits) / 32) + 2);
  let at = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    const word = at >>> 5;
    const shift = at & 31;
    const low = value >>> 0;
    words[word]! |= low << shift;
    // A shift by 32 is a shift by 0 in JavaScript, hence the two steps.
    words[word + 1]! |= (low >>> 1) >>> (31 - shift);
    if (bits > 32) {
      const high = (value / HIGH) >>> 0;
      words[word + 1]! |= high << shift;
      words[word + 2]! |= (high >>> 1) >>> (31 - shift);
    }
    at += bits;
  }
  return new Uint8Array(words.buffer, 0, bitPackedLength(values.length, bits));
}

/**
 * Unpacks what `packBits` made.
 * @returns [count] numbers from 0 to 2^bits - 1; undefined when `bytes` has another length, or padding bits are not zero
 */
export function unpackBits(bytes: Uint8Array, count: number, bits: number): Float64Array | undefined {
  if (bytes.length !== bitPackedLength(count, bits)) return undefined;
  const padding = bytes.length * 8 - count * bits;
  if (padding > 0 && bytes.at(-1)! >>> (8 - padding) !== 0) return undefined;
  const words = new Uint32Array((bytes.length >> 2) + 3);
  new Uint8Array(words.buffer).set(bytes);
  const values = new Float64Array(count);
  const lowMask = bits >= 32 ? 0xffffffff : 2 ** bits - 1;
  const highMask = bits > 32 ? 2 ** (bits - 32) - 1 : 0;
  let at = 0;
  for (let i = 0; i < count; i++) {
    const word = at >>> 5;
    const shift = at & 31;
    const middle = words[word + 1]!;
    const low = (words[word]! >>> shift) | ((middle << 1) << (31 - shift));
    if (bits > 32) {
      const high = (middle >>> shift) | ((words[word + 2]! << 1) << (31 - shift));
      values[i] = ((high & highMask) >>> 0) * HIGH + (low >>> 0);
    } else values[i] = (low & lowMask) >>> 0;
    at += bits;
  }
  return values;
}
