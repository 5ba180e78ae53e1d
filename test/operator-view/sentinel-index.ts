import { LEAST_BYTES, type Sentinel } from "./sentinel.ts";

/** Finds every one of many byte patterns in one pass. */
export type Index = {
  /** Each pattern that is there, with the offset of its first place. */
  find(bytes: Buffer): Map<Sentinel, number>;
};

const FILTER_BITS = 24;

/** Where in a pattern the six bytes are that it is known by. */
type Anchored = { readonly sentinel: Sentinel; readonly offset: number };

/** @throws {RangeError} for a pattern that is shorter than is looked for */
export function createIndex(sentinels: readonly Sentinel[]): Index {
  const byAnchor = new Map<number, Anchored[]>();
  // Six bytes that no pattern has are told by one look at a bit.
  const filter = new Uint8Array(1 << (FILTER_BITS - 3));
  for (const sentinel of sentinels) {
    const { bytes, kind, form } = sentinel;
    if (bytes.length < LEAST_BYTES) throw new RangeError(`${kind} as ${form} has ${bytes.length} bytes`);
    const offset = rarest(bytes);
    const low = bytes.readUInt32LE(offset);
    const high = bytes.readUInt16LE(offset + 4);
    const key = keyOf(low, high);
    const known = byAnchor.get(key);
    if (known === undefined) byAnchor.set(key, [{ sentinel, offset }]);
    else known.push({ sentinel, offset });
    const bit = bitOf(low, high);
    filter[bit >>> 3]! |= 1 << (bit & 7);
  }
  return {
    find(bytes) {
      const found = new Map<Sentinel, number>();
      const last = bytes.length - LEAST_BYTES;
      for (let i = 0; i <= last; i++) {
        const low = bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
        const high = bytes[i + 4]! | (bytes[i + 5]! << 8);
        const bit = bitOf(low, high);
        if ((filter[bit >>> 3]! & (1 << (bit & 7))) === 0) continue;
        for (const { sentinel, offset } of byAnchor.get(keyOf(low, high)) ?? []) {
          if (!found.has(sentinel) && stands(sentinel, bytes, i - offset)) found.set(sentinel, i - offset);
        }
      }
      return found;
    },
  };
}

function keyOf(low: number, high: number): number {
  return (low >>> 0) * 65_536 + high;
}

function bitOf(low: number, high: number): number {
  const mixed = Math.imul(low, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b);
  return Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d) >>> (32 - FILTER_BITS);
}

function stands({ bytes: wanted, wholeNumber }: Sentinel, bytes: Buffer, at: number): boolean {
  if (at < 0 || at + wanted.length > bytes.length || wanted.compare(bytes, at, at + wanted.length) !== 0) return false;
  return !wholeNumber || !(isDigit(bytes[at - 1]) || bytes[at - 1] === POINT || isDigit(bytes[at + wanted.length]));
}

const POINT = 0x2e;

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39;
}

/** The offset of the six bytes that differ most from each other: zeros are everywhere. */
function rarest(bytes: Buffer): number {
  let best = 0;
  let most = 0;
  for (let offset = 0; offset + LEAST_BYTES <= bytes.length && most < LEAST_BYTES; offset++) {
    const different = new Set(bytes.subarray(offset, offset + LEAST_BYTES)).size;
    if (different > most) [best, most] = [offset, different];
  }
  return best;
}
