import { deflateSync, zstdCompressSync } from "node:zlib";
import { type Params, residueBits } from "@smile/he/params";
import type { Dice } from "../fuzz/mutate.ts";
import { pick, randomBytes } from "./case.ts";

/**
 * Ciphertexts that would do harm if anybody gave them to SEAL as they are. Its serialised form is a header of 16 bytes (magic, header
 * size, version, compression, u64 total), then the members; see Facts in he/src/seal-layout.ts. Compression: 0 none, 1 zlib, 2 zstd.
 */
const SEAL_HEADER = [0x5e, 0xa1, 0x10, 4, 1];
const SCALE_AT = 73;
const DATA_AT = 113;
/** What a bomb unpacks to. */
const BOMB_BYTES = 64 * 1024 * 1024;

function sealed(compression: 0 | 1 | 2, body: Uint8Array, total = 16 + body.length): Buffer {
  const header = Buffer.alloc(16);
  header.set(SEAL_HEADER);
  header[5] = compression;
  header.writeBigUInt64LE(BigInt(total), 8);
  return Buffer.concat([header, body]);
}

const zeros = Buffer.alloc(BOMB_BYTES);
const deflated = deflateSync(zeros);
const BOMBS = [sealed(2, zstdCompressSync(zeros)), sealed(1, deflated), sealed(1, deflateSync(deflated)), zstdCompressSync(zeros)];

/** A ciphertext in SEAL's own layout, without compression, whose scale is no number or endless. */
export function nanScale({ n }: Params, dice: Dice): Uint8Array {
  const body = Buffer.alloc(DATA_AT - 16 + 16 * n);
  body.set(randomBytes(256, dice), DATA_AT - 16);
  body.writeBigUInt64LE(BigInt(n), 57 - 16);
  body.writeDoubleLE(pick([Number.NaN, Number.POSITIVE_INFINITY, -0, 1e308], dice), SCALE_AT - 16);
  return sealed(0, body);
}

/** A few kilobytes that unpack to many megabytes; as they are, cut, or with something behind them; never as long as a ciphertext. */
export function bomb(dice: Dice): Uint8Array {
  const whole = pick(BOMBS, dice);
  return pick([whole, whole.subarray(0, whole.length - 1 - dice(64)), Buffer.concat([whole, randomBytes(1 + dice(64), dice)])], dice);
}

/** The ciphertext with one residue at q or above; it has as many bytes as before. */
export function withLargeResidue(ciphertext: Uint8Array, params: Params, dice: Dice): Uint8Array {
  const bits = residueBits(params);
  const changed = Uint8Array.from(ciphertext);
  const index = pick([0, 1, params.n - 1, params.n, 2 * params.n - 1, dice(2 * params.n)], dice);
  const most = (1n << BigInt(bits)) - 1n;
  const value = pick([params.q, params.q + 1n, most, most - 1n], dice);
  for (let k = 0; k < bits; k++) {
    const bit = index * bits + k;
    const mask = 1 << (bit & 7);
    if ((value >> BigInt(k)) & 1n) changed[bit >> 3]! |= mask;
    else changed[bit >> 3]! &= ~mask;
  }
  return changed;
}

/** The ciphertext with c1 = 0: c0 is the message. */
export function transparent(ciphertext: Uint8Array): Uint8Array {
  return Uint8Array.from(ciphertext).fill(0, ciphertext.length / 2);
}
