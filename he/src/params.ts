import { createHash } from "node:crypto";

/**
 * `bgv`: BGV with one coefficient prime. `identity`: the same contracts and byte layouts without any encryption, so that
 * everything else can be tested without cryptography.
 */
export type Scheme = "bgv" | "identity";

/** `public`: gateways hold only the plant's public key. `symmetric`: a key per gateway, frames of half the size, no merging across gateways. */
export type KeyMode = "public" | "symmetric";

/** The ring and the moduli. Two parties work together only when all four are equal. */
export type Params = {
  readonly scheme: Scheme;
  /** Ring degree N, a power of two: coefficients per polynomial. */
  readonly n: number;
  /** Coefficient modulus: one prime, 1 mod 2N and 1 mod t. */
  readonly q: bigint;
  /** Plaintext modulus: a power of two below 2^50. */
  readonly t: number;
};

/** Bits of one residue on the wire: the bit length of q. */
export function residueBits(params: Params): number {
  return params.q.toString(2).length;
}

/** The hash that names these parameters in every envelope: 64 hexadecimal digits. */
export function paramsId({ scheme, n, q, t }: Params): string {
  return createHash("sha256").update(`smile-params-v1 ${scheme} n=${n} q=${q} t=${t}`).digest("hex");
}

/**
 * The largest log2(q) that is used at a ring degree, for a ternary secret and 128 bits of security. The HomomorphicEncryption.org
 * standard (2018) allows 54 and 109; one bit is kept back at N = 2048 for the newer estimates of "Security Guidelines for
 * Implementing Homomorphic Encryption" (eprint 2024/463). At N = 4096 SEAL's limit of 60 bits for one prime binds first.
 */
export const MAX_Q_BITS: ReadonlyMap<number, number> = new Map([
  [2048, 53],
  [4096, 60],
]);
