import { randomFillSync } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { Ciphertext, Plaintext, SecretKey } from "node-seal";
import type { EncryptionKey, Evaluator, FrameEncryptor, PreparedPolynomial, ZeroSource } from "./backend.ts";
import { CiphertextMemory } from "./ciphertext-memory.ts";
import type { Params } from "./params.ts";
import { addMultiples, pick, type Residues, spread } from "./residues.ts";
import { sampleErrors, sampleTernary } from "./samplers.ts";
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
  const layout = opened.use(new SealLayout(session, seededTemplate(session)));
  const evaluator = opened.use(new seal.Evaluator(context));
  const parmsId = opened.use(context.firstParmsId());
  const input = opened.use(new seal.Ciphertext());
  const product = opened.use(new seal.Ciphertext());
  const zero = opened.use(new seal.Ciphertext());
  const random = opened.use(new seal.Plaintext());
  const prepared = new WeakMap<PreparedPolynomial, Plaintext>();
  const keys = new WeakMap<ZeroSource, Ciphertext>();
  const ternary = new Int32Array(params.n);
  const small = new Int8Array(params.n);
  const sparse = new Uint32Array(2 * params.n);
  const memory = openMemory(session, layout);
  const owned = opened.move();

  const load = (ciphertext: Uint8Array, form: "full" | "seeded") => {
    if (form === "full") layout.loadFull(decodeFull(params, ciphertext, layout.fullResidues), true, input);
    else layout.loadSeeded(decodeSeeded(params, ciphertext, layout.seededResidues), input);
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
    return memory.view(cipher);
  };
  const copied = ({ c0, c1 }: CiphertextResidues): CiphertextResidues => ({ c0: c0.slice(), c1: c1.slice() });
  /** What a public-key encryption of zero is but for its errors: the key (p0, p1) times a fresh ternary u; in NTT form, in `zero`. */
  const multiplyKey = (key: Ciphertext) => {
    sampleTernary(ternary);
    layout.loadPlain(ternary, random);
    evaluator.plainTransformToNttInplace(random, parmsId);
    evaluator.multiplyPlain(key, random, zero);
  };
  /** Fresh errors times t. They are drawn in coefficient form, so they need no transform where that is what is wanted. */
  const addErrors = (to: Residues) => {
    const drawn = small.subarray(0, to.length / 2);
    sampleErrors(drawn);
    addMultiples(to, params.t, drawn, params.q);
  };
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
        return copied(inCoefficients(product));
      });
    },
    multiplySanitised(ciphertext, form, polynomials, zeros, positions, use) {
      const key = keys.get(zeros);
      if (key === undefined) throw new TypeError("these zeros are another evaluator's");
      load(ciphertext, form);
      return polynomials.map((polynomial, output) => {
        const plain = plainOf(polynomial);
        multiplyKey(key);
        if (!plain.isZero()) {
          evaluator.multiplyPlain(input, plain, product);
          evaluator.addInplace(zero, product);
        }
        const { c0, c1 } = inCoefficients(zero);
        addErrors(c1);
        const kept = pick(c0, positions);
        addErrors(kept);
        return use({ c0: spread(kept, positions, sparse), c1 }, output);
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
          const fresh = copied(inCoefficients(zero));
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

function openMemory(session: SealSession, layout: SealLayout): CiphertextMemory {
  const { n } = session.params;
  using cipher = new session.seal.Ciphertext();
  const residues = new Uint32Array(4 * n);
  // Low words only: every q has more than 32 bits.
  const random = randomFillSync(new Uint32Array(2 * n));
  random.forEach((word, i) => {
    residues[2 * i] = word;
  });
  layout.loadFull({ c0: residues.subarray(0, 2 * n), c1: residues.subarray(2 * n) }, true, cipher);
  return new CiphertextMemory(session, cipher, residues);
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
