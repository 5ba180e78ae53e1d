import { PipelineError } from "@smile/errors/pipeline-error";
import type { Ciphertext, Plaintext } from "node-seal";
import type { Params } from "./params.ts";
import { areBelow, type Residues } from "./residues.ts";
import type { SealSession } from "./seal-module.ts";
import { type CiphertextResidues, SEED_BYTES, type SeededResidues } from "./wire.ts";

/**
 * The byte layout of SEAL 4.1 objects saved without compression, as far as it is needed to move polynomials in and out. Headers
 * are never written by hand: they are copied from objects that this very SEAL saved, so another version fails the checks here
 * instead of misreading. Data starts at odd offsets, so templates do, too: their residues are whole words then, and written in place.
 */
const NTT_FLAG = 48;
const CIPHERTEXT_DATA = 113;
const PLAINTEXT_DATA = 88;
const PLAINTEXT_COUNT = 48;

const COMPRESSION_MODE = 5;

/**
 * A saved key as SEAL may load it: SEAL 4.1 must parse no bytes of unknown length nor decompress any. Enough for a key of one's own; a
 * public key of another organisation needs `SealLayout.publicKey`.
 * @param kind a public key is saved as a ciphertext, a secret key as a plaintext
 * @returns a view of the same bytes that is no Buffer, since SEAL refuses those
 * @throws {PipelineError} KEY_MISMATCH when the length is not that of a key of these parameters, or the key is compressed
 */
export function uncompressedKey(bytes: Uint8Array, kind: "public" | "secret", { n }: Params): Uint8Array {
  const expected = kind === "public" ? CIPHERTEXT_DATA + 16 * n : PLAINTEXT_DATA + 8 * n;
  if (bytes.length !== expected || bytes[COMPRESSION_MODE] !== 0) {
    throw new PipelineError("KEY_MISMATCH", `a ${kind} key of these parameters has ${expected} bytes, not compressed`, {
      length: bytes.length,
      expected,
    });
  }
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Moves plaintexts and ciphertexts between SEAL and arrays; holds the templates and scratch space of one session. */
export class SealLayout implements Disposable {
  readonly #session: SealSession;
  readonly #plain: Uint8Array;
  readonly #full: Uint8Array;
  readonly #seeded: Uint8Array | undefined;
  /** Where residues may be written to before `loadFull`, which then copies none. */
  readonly fullResidues: CiphertextResidues;
  /** The same for c0 of `loadSeeded`; empty without a template. */
  readonly seededResidues: Residues;
  readonly #words: Uint32Array;

  /** @param seededTemplate a seeded ciphertext saved by this SEAL, where seeded ciphertexts will be loaded */
  constructor(session: SealSession, seededTemplate?: Uint8Array) {
    const { seal, context, params } = session;
    const none = seal.ComprModeType.none;
    using plain = new seal.Plaintext(params.n);
    using parmsId = context.firstParmsId();
    using cipher = new seal.Ciphertext(context, parmsId, 2);
    cipher.resize(2);
    this.#session = session;
    this.#plain = plain.saveToArray(none);
    this.#full = aligned(cipher.saveToArray(none));
    this.#seeded = seededTemplate && aligned(seededTemplate);
    this.#words = new Uint32Array(2 * params.n);
    const polynomial = 8 * params.n;
    const expected = [
      [this.#plain.length, PLAINTEXT_DATA + polynomial],
      [this.#full.length, CIPHERTEXT_DATA + 2 * polynomial],
      [seededTemplate?.length, seededTemplate && CIPHERTEXT_DATA + polynomial + 81],
    ];
    if (expected.some(([is, should]) => is !== should)) throw new Error("node-seal saves objects in another layout than SEAL 4.1");
    this.fullResidues = { c0: wordsIn(this.#full, 0, params.n), c1: wordsIn(this.#full, 1, params.n) };
    this.seededResidues = this.#seeded === undefined ? new Uint32Array(0) : wordsIn(this.#seeded, 0, params.n);
  }

  [Symbol.dispose](): void {}

  /**
   * A saved public key as SEAL may load it, whoever it is from. Each load that SEAL itself refuses costs its instance 4 KB for good, and
   * after some 3,800 of them (2,048 coefficients) the instance traps, whoever's task it is at: so SEAL is given nothing that it refuses.
   * @returns a view of the same bytes that is no Buffer
   * @throws {PipelineError} KEY_MISMATCH
   */
  publicKey(bytes: Uint8Array): Uint8Array {
    const { params } = this.#session;
    const key = uncompressedKey(bytes, "public", params);
    // SEAL saves a public key as it saves a ciphertext of two polynomials in NTT form.
    this.#full[NTT_FLAG] = 1;
    if (Buffer.compare(key.subarray(0, CIPHERTEXT_DATA), this.#full.subarray(0, CIPHERTEXT_DATA)) !== 0) {
      throw new PipelineError("KEY_MISMATCH", "the header is not that of a public key of these parameters");
    }
    const { c0, c1 } = this.splitFull(key);
    if (!areBelow(c0, params.q) || !areBelow(c1, params.q)) throw new PipelineError("KEY_MISMATCH", "a residue of the key is not below q");
    return key;
  }

  /**
   * Loads integers |c| < t / 2 as a plaintext; negative ones as t + c.
   * @param coefficients exactly N: fewer would leave those of the polynomial before
   */
  loadPlain(coefficients: Int32Array, into: Plaintext): void {
    const { params, context } = this.#session;
    if (coefficients.length !== params.n) throw new RangeError(`a polynomial has ${params.n} coefficients, not ${coefficients.length}`);
    const low = params.t % 2 ** 32;
    const high = Math.floor(params.t / 2 ** 32);
    const words = this.#words;
    for (let i = 0; i < coefficients.length; i++) {
      const c = coefficients[i]!;
      // In two's complement t + c carries into the high word exactly when t's low word is at least -c.
      words[2 * i] = c < 0 ? low + c : c;
      words[2 * i + 1] = c < 0 ? high - (low + c < 0 ? 1 : 0) : 0;
    }
    this.#plain.set(new Uint8Array(words.buffer), PLAINTEXT_DATA);
    into.loadFromArray(context, this.#plain);
  }

  /** @returns the coefficients of a decrypted plaintext at some indices, each in [0, t) */
  readPlain(plain: Plaintext, at: ArrayLike<number>): Float64Array {
    const bytes: Uint8Array = plain.saveToArray(this.#session.seal.ComprModeType.none);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const stored = Number(view.getBigUint64(PLAINTEXT_COUNT, true));
    const values = new Float64Array(at.length);
    for (let k = 0; k < at.length; k++) {
      const offset = PLAINTEXT_DATA + 8 * at[k]!;
      if (at[k]! < stored) values[k] = view.getUint32(offset, true) + view.getUint32(offset + 4, true) * 2 ** 32;
    }
    return values;
  }

  /** @param ntt the domain that the residues are in; SEAL transforms a BGV ciphertext in coefficient form while loading it */
  loadFull({ c0, c1 }: CiphertextResidues, ntt: boolean, into: Ciphertext): void {
    const { context } = this.#session;
    this.#full[NTT_FLAG] = ntt ? 1 : 0;
    if (c0 !== this.fullResidues.c0) this.fullResidues.c0.set(c0);
    if (c1 !== this.fullResidues.c1) this.fullResidues.c1.set(c1);
    into.loadFromArray(context, this.#full);
  }

  loadSeeded({ c0, seed }: SeededResidues, into: Ciphertext): void {
    if (this.#seeded === undefined) throw new Error("this layout was opened without a seeded template");
    if (c0 !== this.seededResidues) this.seededResidues.set(c0);
    this.#seeded.set(seed, this.#seeded.length - SEED_BYTES);
    into.loadFromArray(this.#session.context, this.#seeded);
  }

  /** Splits the saved bytes of a ciphertext of two polynomials. */
  splitFull(saved: Uint8Array): CiphertextResidues {
    const { n } = this.#session.params;
    return { c0: residuesAt(saved, CIPHERTEXT_DATA, n), c1: residuesAt(saved, CIPHERTEXT_DATA + 8 * n, n) };
  }

  splitSeeded(saved: Uint8Array): SeededResidues {
    return { c0: residuesAt(saved, CIPHERTEXT_DATA, this.#session.params.n), seed: saved.slice(saved.length - SEED_BYTES) };
  }
}

/** A copy of a saved ciphertext whose residues stand at a multiple of 8. */
function aligned(saved: Uint8Array): Uint8Array {
  const before = (8 - (CIPHERTEXT_DATA % 8)) % 8;
  const copy = new Uint8Array(new ArrayBuffer(before + saved.length), before);
  copy.set(saved);
  return copy;
}

/** The residues of one polynomial of an aligned ciphertext. */
function wordsIn(ciphertext: Uint8Array, polynomial: number, n: number): Residues {
  return new Uint32Array(ciphertext.buffer, ciphertext.byteOffset + CIPHERTEXT_DATA + polynomial * 8 * n, 2 * n);
}

function residuesAt(saved: Uint8Array, offset: number, n: number): Residues {
  return new Uint32Array(saved.slice(offset, offset + 8 * n).buffer);
}
