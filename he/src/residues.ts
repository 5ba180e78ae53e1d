import { endianness } from "node:os";
import { PipelineError } from "@smile/errors/pipeline-error";

if (endianness() !== "LE") throw new Error("SMiLe Stream packs residues on little-endian machines only");

/**
 * Residues modulo q as 64-bit little-endian words, the layout that SEAL uses, seen as pairs of 32-bit words (low, high): a
 * polynomial of N residues is a Uint32Array [2N]. JavaScript has no fast 64-bit integers; with at most 60 bits a sum of two
 * residues fits the pair.
 */
export type Residues = Uint32Array;

/** Bytes of `count` residues of `bits` bits each, packed without gaps. */
export function packedLength(count: number, bits: number): number {
  return Math.ceil((count * bits) / 8);
}

/**
 * Packs residues into a little-endian bit stream.
 * @param residues [2 * count] low and high words, each residue below 2^bits
 * @param bits 33 to 60
 * @returns packedLength(count, bits) bytes
 */
export function pack(residues: Residues, bits: number): Uint8Array {
  const count = residues.length / 2;
  const words = new Uint32Array(Math.ceil((count * bits) / 32));
  const highBits = bits - 32;
  let word = 0;
  let used = 0;
  let o = 0;
  for (let i = 0; i < residues.length; i += 2) {
    const low = residues[i]!;
    const high = residues[i + 1]!;
    // Shifts by 32 are shifts by 0 in JavaScript: an aligned low word (used = 0) takes its own way.
    if (used === 0) {
      words[o++] = low;
      word = 0;
    } else {
      words[o++] = word | (low << used);
      word = low >>> (32 - used);
    }
    word |= high << used;
    const after = used + highBits;
    if (after >= 32) {
      words[o++] = word;
      word = used === 0 ? 0 : high >>> (32 - used);
      used = after - 32;
    } else used = after;
  }
  if (used > 0) words[o] = word;
  return new Uint8Array(words.buffer, 0, packedLength(count, bits));
}

/** Whole words of what is unpacked, with two to spare so that no loop reads past the end; used over and over, and it aligns them. */
let packedWords = new Uint32Array(0);

/**
 * Unpacks what `pack` made and checks that every residue is below q.
 * @param into [2 * count] words that take the residues; default: new ones
 * @returns `into`: low and high words
 * @throws {PipelineError} FRAME_WRONG_LENGTH when `bytes` is not exactly packedLength(count, bits of q) long;
 *   RESIDUE_OUT_OF_RANGE when a residue is q or more, or padding bits are not zero
 */
export function unpack(bytes: Uint8Array, count: number, q: bigint, into: Residues = new Uint32Array(2 * count)): Residues {
  const bits = q.toString(2).length;
  if (bytes.length !== packedLength(count, bits)) {
    throw new PipelineError(
      "FRAME_WRONG_LENGTH",
      `${count} residues of ${bits} bits take ${packedLength(count, bits)} bytes, not ${bytes.length}`,
    );
  }
  const padding = bytes.length * 8 - count * bits;
  if (padding > 0 && bytes.at(-1)! >>> (8 - padding) !== 0) {
    throw new PipelineError("RESIDUE_OUT_OF_RANGE", "the padding behind the last residue is not zero", { padding });
  }
  const needed = (bytes.length >> 2) + 3;
  if (packedWords.length < needed) packedWords = new Uint32Array(needed);
  const words = packedWords;
  new Uint8Array(words.buffer).set(bytes);
  const mask = 2 ** (bits - 32) - 1;
  const qLow = Number(q & 0xffffffffn);
  const qHigh = Number(q >> 32n);
  for (let i = 0, at = 0; i < 2 * count; i += 2, at += bits) {
    const word = at >>> 5;
    const shift = at & 31;
    const middle = words[word + 1]!;
    // A shift by 32 is a shift by 0 in JavaScript, hence the two steps. What lies behind the last byte is masked away.
    const low = ((words[word]! >>> shift) | ((middle << 1) << (31 - shift))) >>> 0;
    const high = ((middle >>> shift) | ((words[word + 2]! << 1) << (31 - shift))) & mask;
    if (high >= qHigh && (high > qHigh || low >= qLow)) {
      throw new PipelineError("RESIDUE_OUT_OF_RANGE", `residue ${i / 2} is not below q`, { index: i / 2 });
    }
    into[i] = low;
    into[i + 1] = high;
  }
  return into;
}

/** Whether every residue is below q. */
export function areBelow(residues: Residues, q: bigint): boolean {
  const qLow = Number(q & 0xffffffffn);
  const qHigh = Number(q >> 32n);
  for (let i = 0; i < residues.length; i += 2) {
    const high = residues[i + 1]!;
    if (high > qHigh || (high === qHigh && residues[i]! >= qLow)) return false;
  }
  return true;
}

/** target += addend modulo q, residue by residue; both [2 * count] with every residue below q. */
export function addInto(target: Residues, addend: Residues, q: bigint): void {
  const qLow = Number(q & 0xffffffffn);
  const qHigh = Number(q >> 32n);
  for (let i = 0; i < target.length; i += 2) {
    let low = target[i]! + addend[i]!;
    let high = target[i + 1]! + addend[i + 1]!;
    if (low >= 0x1_0000_0000) {
      low -= 0x1_0000_0000;
      high += 1;
    }
    if (high > qHigh || (high === qHigh && low >= qLow)) {
      low -= qLow;
      high -= qHigh;
      if (low < 0) {
        low += 0x1_0000_0000;
        high -= 1;
      }
    }
    target[i] = low;
    target[i + 1] = high;
  }
}

/**
 * Adds an integer to each of some residues, modulo q.
 * @param at indices of residues, each below q
 * @param values one per index: whole numbers that a double holds exactly, each |value| < q
 */
export function addIntegers(target: Residues, at: ArrayLike<number>, values: ArrayLike<number>, q: bigint): void {
  const qLow = Number(q & 0xffffffffn);
  const qHigh = Number(q >> 32n);
  for (let k = 0; k < at.length; k++) {
    const i = 2 * at[k]!;
    // Division by a power of two and floor are exact, and so is what is left.
    const valueHigh = Math.floor(values[k]! / 0x1_0000_0000);
    let low = values[k]! - valueHigh * 0x1_0000_0000 + target[i]!;
    let high = target[i + 1]! + valueHigh;
    if (low >= 0x1_0000_0000) {
      low -= 0x1_0000_0000;
      high += 1;
    }
    if (high < 0) {
      low += qLow;
      high += qHigh;
      if (low >= 0x1_0000_0000) {
        low -= 0x1_0000_0000;
        high += 1;
      }
    } else if (high > qHigh || (high === qHigh && low >= qLow)) {
      low -= qLow;
      high -= qHigh;
      if (low < 0) {
        low += 0x1_0000_0000;
        high -= 1;
      }
    }
    target[i] = low;
    target[i + 1] = high;
  }
}

/**
 * target += t * factors modulo q, residue by residue.
 * @param t a power of two
 * @param factors [count] with |t * factor| < q
 */
export function addMultiples(target: Residues, t: number, factors: Int8Array, q: bigint): void {
  const qLow = Number(q & 0xffffffffn);
  const qHigh = Number(q >> 32n);
  const tLow = t < 0x1_0000_0000 ? t : 0;
  const tHigh = t < 0x1_0000_0000 ? 0 : t / 0x1_0000_0000;
  for (let i = 0, k = 0; k < factors.length; i += 2, k++) {
    const factor = factors[k]!;
    let low = target[i]! + factor * tLow;
    // Without a branch, since nobody can foretell the sign.
    const carry = Math.floor(low / 0x1_0000_0000);
    low -= carry * 0x1_0000_0000;
    let high = target[i + 1]! + factor * tHigh + carry;
    if (high < 0) {
      low += qLow;
      high += qHigh;
      if (low >= 0x1_0000_0000) {
        low -= 0x1_0000_0000;
        high += 1;
      }
    } else if (high > qHigh || (high === qHigh && low >= qLow)) {
      low -= qLow;
      high -= qHigh;
      if (low < 0) {
        low += 0x1_0000_0000;
        high -= 1;
      }
    }
    target[i] = low;
    target[i + 1] = high;
  }
}

/** The residues at some indices, in their order. */
export function pick(residues: Residues, at: readonly number[]): Residues {
  const picked = new Uint32Array(2 * at.length);
  for (let k = 0; k < at.length; k++) {
    picked[2 * k] = residues[2 * at[k]!]!;
    picked[2 * k + 1] = residues[2 * at[k]! + 1]!;
  }
  return picked;
}

/**
 * Residues that are zero but for those that `pick` took.
 * @param into [2 * count] words that take them
 */
export function spread(picked: Residues, at: readonly number[], into: Residues): Residues {
  into.fill(0);
  for (let k = 0; k < at.length; k++) {
    into[2 * at[k]!] = picked[2 * k]!;
    into[2 * at[k]! + 1] = picked[2 * k + 1]!;
  }
  return into;
}

/** The residue at an index. */
export function residueAt(residues: Residues, index: number): bigint {
  return (BigInt(residues[2 * index + 1]!) << 32n) | BigInt(residues[2 * index]!);
}

/** Sets the residue at an index; `value` may be any integer. */
export function setResidue(residues: Residues, index: number, value: bigint, q: bigint): void {
  const residue = ((value % q) + q) % q;
  residues[2 * index] = Number(residue & 0xffffffffn);
  residues[2 * index + 1] = Number(residue >> 32n);
}
