import type { CiphertextResidues } from "./wire.ts";

/**
 * What SMiLe Stream needs of a homomorphic scheme, in bytes and residues, so that one contract suite runs on BGV and on the
 * identity backend, and nothing else knows SEAL. Everything that is opened holds WASM memory: dispose of it with `using`.
 */
export type EncryptionKey = {
  /** `public`: bytes of a public key. `symmetric`: bytes of the gateway's own secret key. */
  readonly mode: "public" | "symmetric";
  readonly bytes: Uint8Array;
};

/** A gateway's side: plaintext polynomials into frames. */
export interface FrameEncryptor extends Disposable {
  /**
   * @param coefficients [N] integers with |c| < t / 2, as `packLanes` makes them
   * @returns the frame's ciphertext: full in public mode, seeded in symmetric mode; see wire.ts
   */
  encrypt(coefficients: Int32Array): Uint8Array;
  /** Bytes of memory that the backend holds outside JavaScript's heap. */
  memoryBytes(): number;
}

/** A plaintext polynomial in the form in which it multiplies ciphertexts. */
export interface PreparedPolynomial extends Disposable {}

/** Makes public-key encryptions of zero under one plant's key, each from randomness of its own: what replies are sanitised with. */
export interface ZeroSource extends Disposable {
  /** A fresh one, in coefficient form. */
  next(): CiphertextResidues;
}

/** The service's side: multiplies ciphertexts by plaintext polynomials, without any secret. */
export interface Evaluator extends Disposable {
  /** @param coefficients [N] integers with |c| < t / 2, as `headPolynomial` makes them */
  prepare(coefficients: Int32Array): PreparedPolynomial;
  /**
   * The products of one ciphertext with each polynomial, in coefficient form.
   * @param ciphertext a frame or batch that `checkFrame` has let pass
   * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE, CIPHERTEXT_TRANSPARENT
   */
  multiply(ciphertext: Uint8Array, form: "full" | "seeded", polynomials: readonly PreparedPolynomial[]): CiphertextResidues[];
  /**
   * The products, to each of which a fresh encryption of zero was added: what may leave the service once it is flooded.
   * @param positions coefficients of c0 that will leave; the others are zero in what `use` is given, since they are not sanitised
   * @param use is given each product, in coefficient form, for as long as it runs: the next one takes its place
   * @returns [polynomials] what `use` returned
   * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE, CIPHERTEXT_TRANSPARENT
   */
  multiplySanitised<T>(
    ciphertext: Uint8Array,
    form: "full" | "seeded",
    polynomials: readonly PreparedPolynomial[],
    zeros: ZeroSource,
    positions: readonly number[],
    use: (product: CiphertextResidues, output: number) => T,
  ): T[];
  /**
   * A source of fresh encryptions of zero under a plant's key.
   * @throws {PipelineError} KEY_MISMATCH
   */
  openZeros(publicKey: Uint8Array): ZeroSource;
  /** Bytes of memory that the backend holds outside JavaScript's heap. */
  memoryBytes(): number;
}
