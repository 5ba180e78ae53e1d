import { PipelineError } from "@smile/errors/pipeline-error";
import type { Ciphertext, Plaintext, SecretKey } from "node-seal";
import type { EncryptionKey, Evaluator, FrameEncryptor, PreparedPolynomial, ZeroSource } from "./backend.ts";
import type { Params } from "./params.ts";
import { addFromTable, multiplesOf, pick, type Residues, spread } from "./residues.ts";
import { LARGEST_ERROR, sampleErrors, sampleTernary } from "./samplers.ts";
import { SealLayout, uncompressedKey } from "./seal-layout.ts";
import { openSeal, type SealSession } from "./seal-module.ts";
import { type CiphertextResidues, decodeFull, decodeSeeded, encodeFull, encodeSeeded } from "./wire.ts";

/**
 * @throws {PipelineError} KEY_MISMATCH when the key was not made for these parameters
 */
export async function openSealEncryptor(params: Params, key: EncryptionKey): Promise<FrameEncryptor> {
  using opened = new DisposableStack();
  const session = opened.use(await openSeal(params));
  const { seal, context } = session;
  const none = seal.ComprModeType.none;
  const publicKey = opened.use(new seal.PublicKey());
  const secretKey = opened.use(new seal.SecretKey());
  const layout = opened.use(new SealLayout(session));
  const plain = opened.use(new seal.Plaintext());
  const cipher = opened.use(new seal.Ciphertext());
  const kind = key.mode === "public" ? "public" : "secret";
  const bytes = kind === "public" ? layout.publicKey(key.bytes) : uncompressedKey(key.bytes, kind, params);
  loadKey(() => (kind === "public" ? publicKey : secretKey).loadFromArray(context, bytes));
  if (key.mode === "public") {
    const encryptor = opened.use(new seal.Encryptor(context, publicKey));
    const owned = opened.move();
    return {
      encrypt(coefficients) {
        layout.loadPlain(coefficients, plain);
        encryptor.encrypt(plain, cipher);
        return encodeFull(params, layout.splitFull(cipher.saveToArray(none)));
      },
      memoryBytes: () => session.memoryBytes(),
      [Symbol.dispose]: () => owned.dispose(),
    };
  }
  const encryptor = opened.use(symmetricEncryptor(session, secretKey));
  const owned = opened.move();
  return {
    encrypt(coefficients) {
      layout.loadPlain(coefficients, plain);
      using seeded = encryptor.encryptSymmetricSerializable(plain);
      return encodeSeeded(params, layout.splitSeeded(seeded.saveToArray(none)));
    },
    memoryBytes: () => session.memoryBytes(),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** Needs no key: it loads, multiplies and re-randomises what others encrypted. */
export async function openSealEvaluator(params: Params): Promise<Evaluator> {
  using opened = new DisposableStack();
  const session = opened.use(await openSeal(params));
  const { seal, context } = session;
  const none = seal.ComprModeType.none;
  const layout = opened.use(new SealLayout(session, seededTemplate(session)));
  const evaluator = opened.use(new seal.Evaluator(context));
  const parmsId = opened.use(context.firstParmsId());
  const input = opened.use(new seal.Ciphertext());
  const product = opened.use(new seal.Ciphertext());
  const zero = opened.use(new seal.Ciphertext());
  const random = opened.use(new seal.Plaintext());
  const prepared = new WeakMap<PreparedPolynomial, Plaintext>();
  const keys = new WeakMap<ZeroSource, Ciphertext>();
  const errors = multiplesOf(params.t, LARGEST_ERROR, params.q);
  const owned = opened.move();

  const load = (ciphertext: Uint8Array, form: "full" | "seeded") => {
    if (form === "full") layout.loadFull(decodeFull(params, ciphertext), true, input);
    else layout.loadSeeded(decodeSeeded(params, ciphertext), input);
    // SEAL would throw in the middle of the work.
    if (input.isTransparent()) throw new PipelineError("CIPHERTEXT_TRANSPARENT", "the ciphertext is not encrypted");
  };
  const plainOf = (polynomial: PreparedPolynomial) => {
    const plain = prepared.get(polynomial);
    if (plain === undefined) throw new TypeError("this polynomial was prepared by another evaluator");
    return plain;
  };
  const inCoefficients = (cipher: Ciphertext) => {
    evaluator.cipherTransformFromNttInplace(cipher);
    return layout.splitFull(cipher.saveToArray(none));
  };
  /** What a public-key encryption of zero is but for its errors: the key (p0, p1) times a fresh ternary u; in NTT form, in `zero`. */
  const multiplyKey = (key: Ciphertext) => {
    layout.loadPlain(sampleTernary(params.n), random);
    evaluator.plainTransformToNttInplace(random, parmsId);
    evaluator.multiplyPlain(key, random, zero);
  };
  /** The errors of one polynomial, times t. They are drawn in coefficient form, so they need no transform where that is what is wanted. */
  const addErrors = (to: Residues) => addFromTable(to, errors, LARGEST_ERROR, sampleErrors(params.n), params.q);
  return {
    prepare(coefficients) {
      const plain = new seal.Plaintext();
      layout.loadPlain(coefficients, plain);
      evaluator.plainTransformToNttInplace(plain, parmsId);
      const handle = { [Symbol.dispose]: () => plain.delete() };
      prepared.set(handle, plain);
      return handle;
    },
    multiply(ciphertext, form, polynomials) {
      load(ciphertext, form);
      return polynomials.map((polynomial): CiphertextResidues => {
        const plain = plainOf(polynomial);
        // SEAL refuses products with zero, since their ciphertexts are transparent.
        if (plain.isZero()) return { c0: new Uint32Array(2 * params.n), c1: new Uint32Array(2 * params.n) };
        evaluator.multiplyPlain(input, plain, product);
        return inCoefficients(product);
      });
    },
    multiplySanitised(ciphertext, form, polynomials, zeros, positions) {
      const key = keys.get(zeros);
      if (key === undefined) throw new TypeError("these zeros are another evaluator's");
      load(ciphertext, form);
      return polynomials.map((polynomial): CiphertextResidues => {
        const plain = plainOf(polynomial);
        multiplyKey(key);
        if (!plain.isZero()) {
          evaluator.multiplyPlain(input, plain, product);
          evaluator.addInplace(zero, product);
        }
        const { c0, c1 } = inCoefficients(zero);
        addErrors(c1);
        const kept = pick(c0, positions);
        addFromTable(kept, errors, LARGEST_ERROR, sampleErrors(positions.length), params.q);
        return { c0: spread(kept, positions, params.n), c1 };
      });
    },
    openZeros(publicKeyBytes) {
      using opening = new DisposableStack();
      const key = opening.use(new seal.Ciphertext());
      // A public key is an encryption of zero, saved as one.
      const bytes = layout.publicKey(publicKeyBytes);
      loadKey(() => key.loadFromArray(context, bytes));
      if (key.isTransparent()) throw new PipelineError("KEY_MISMATCH", "the second polynomial of the public key is zero");
      const ownedKey = opening.move();
      const zeros: ZeroSource = {
        next() {
          multiplyKey(key);
          const fresh = inCoefficients(zero);
          addErrors(fresh.c0);
          addErrors(fresh.c1);
          return fresh;
        },
        [Symbol.dispose]: () => ownedKey.dispose(),
      };
      keys.set(zeros, key);
      return zeros;
    },
    memoryBytes: () => session.memoryBytes(),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function loadKey(load: () => void): void {
  try {
    load();
  } catch (error) {
    throw new PipelineError("KEY_MISMATCH", "the key does not load under these parameters", {}, error);
  }
}

/** SEAL's encryptor wants a public key even where only the secret one is used. */
function symmetricEncryptor({ seal, context }: SealSession, secretKey: SecretKey) {
  using generator = new seal.KeyGenerator(context, secretKey);
  using publicKey = generator.createPublicKey();
  return new seal.Encryptor(context, publicKey, secretKey);
}

/** A seeded ciphertext of this SEAL under a throw-away key, for its header. */
function seededTemplate(session: SealSession): Uint8Array {
  const { seal, context } = session;
  using generator = new seal.KeyGenerator(context);
  using secretKey = generator.secretKey();
  using encryptor = symmetricEncryptor(session, secretKey);
  using plain = new seal.Plaintext(1);
  using seeded = encryptor.encryptSymmetricSerializable(plain);
  return seeded.saveToArray(seal.ComprModeType.none);
}
