import type { Ciphertext } from "node-seal";
import type { Residues } from "./residues.ts";
import type { SealSession } from "./seal-module.ts";
import type { CiphertextResidues } from "./wire.ts";

/** Bytes of a ciphertext object in which the address is looked for; SEAL 4.1's has fewer. */
const OBJECT_BYTES = 256;
const WORD = 4;

/** Where the object behind a handle of embind stands in the WASM memory. */
const addressOf = (handle: Ciphertext) => (handle as unknown as { $$: { ptr: number } }).$$.ptr;

/**
 * Residues of ciphertexts where SEAL keeps them, since saving one copies them three times. Which field of a ciphertext object has their
 * address is found with residues that are known, not assumed, and the address is read anew each time.
 */
export class CiphertextMemory {
  readonly #session: SealSession;
  readonly #field: number;

  /**
   * @param known a ciphertext of two polynomials
   * @param residues its residues, [4N] words of c0 and c1; random ones, so that no other field fits them
   * @throws {Error} when not exactly one field has the address of its residues: another SEAL than 4.1
   */
  constructor(session: SealSession, known: Ciphertext, residues: Residues) {
    this.#session = session;
    const found: number[] = [];
    for (let field = 0; field < OBJECT_BYTES; field += WORD) {
      const words = this.#wordsAt(known, field);
      if (words?.every((word, i) => word === residues[i])) found.push(field);
    }
    if (found.length !== 1) throw new Error("node-seal keeps ciphertexts in another layout than SEAL 4.1");
    this.#field = found[0]!;
  }

  /** A ciphertext of two polynomials as views: right until SEAL is called again, and what is written to them is in the ciphertext. */
  view(cipher: Ciphertext): CiphertextResidues {
    const words = this.#wordsAt(cipher, this.#field);
    if (words === undefined || cipher.size() !== 2) throw new Error("a ciphertext is not where it was said to be");
    return { c0: words.subarray(0, words.length / 2), c1: words.subarray(words.length / 2) };
  }

  /** [4N] words at the address that stands in a field of the object; undefined when that is no address. */
  #wordsAt(cipher: Ciphertext, field: number): Residues | undefined {
    const memory = this.#session.memory();
    const [address] = new Uint32Array(memory, addressOf(cipher) + field, 1);
    const words = WORD * this.#session.params.n;
    if (address === 0 || address! % 8 !== 0 || address! + words * WORD > memory.byteLength) return undefined;
    return new Uint32Array(memory, address, words);
  }
}
