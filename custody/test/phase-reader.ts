import type { Params } from "@smile/he/params";
import { SealLayout } from "@smile/he/seal-layout";
import { openSeal } from "@smile/he/seal-module";
import type { CiphertextResidues } from "@smile/he/wire";

/** Where SEAL 4.1 keeps the id of the parameters in what it saves, and the coefficients of a plaintext. */
const PARMS_ID = [16, 48] as const;
const PLAINTEXT_COUNT = 48;
const PLAINTEXT_DATA = 88;

/** Reads what a ciphertext carries, exactly: the message plus t times the noise, per coefficient. */
export type PhaseReader = Disposable & {
  /**
   * @param ntt the domain that the residues are in
   * @returns [N] message + t * noise, in (-q/2, q/2)
   */
  phases(ciphertext: CiphertextResidues, ntt: boolean): BigInt64Array;
};

/**
 * The trick: decryption reduces the phase c0 + c1 s, centred modulo q, by the plaintext modulus. In a second context over the same
 * ring and prime whose plaintext modulus is q - 2 that reduction loses nothing. The secret key is the same polynomial; only the id
 * of its parameters is exchanged.
 */
export async function openPhaseReader(params: Params, secretKey: Uint8Array): Promise<PhaseReader> {
  using opened = new DisposableStack();
  const session = opened.use(await openSeal(params));
  const { seal } = session;
  const none = seal.ComprModeType.none;
  const wide = params.q - 2n;
  using settings = new seal.EncryptionParameters(seal.SchemeType.bgv);
  using primes = new seal.VectorModulus();
  using q = new seal.Modulus(params.q);
  using t = new seal.Modulus(wide);
  primes.push_back(q);
  settings.setPolyModulusDegree(params.n);
  settings.setCoeffModulus(primes);
  settings.setPlainModulus(t);
  const context = opened.use(new seal.SEALContext(settings, false, seal.SecLevelType.tc128));
  if (!context.parametersSet()) throw new Error("SEAL refuses a plaintext modulus of q - 2");

  using generator = new seal.KeyGenerator(context);
  using other = generator.secretKey();
  const otherBytes: Uint8Array = other.saveToArray(none);
  const tagged = Uint8Array.from(secretKey);
  tagged.set(otherBytes.subarray(...PARMS_ID), PARMS_ID[0]);
  const key = opened.use(new seal.SecretKey());
  key.loadFromArray(context, tagged);

  const decryptor = opened.use(new seal.Decryptor(context, key));
  const layout = opened.use(new SealLayout({ ...session, context }));
  const cipher = opened.use(new seal.Ciphertext());
  const plain = opened.use(new seal.Plaintext());
  const owned = opened.move();
  return {
    phases(ciphertext, ntt) {
      layout.loadFull(ciphertext, ntt, cipher);
      decryptor.decrypt(cipher, plain);
      const bytes: Uint8Array = plain.saveToArray(none);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const stored = Number(view.getBigUint64(PLAINTEXT_COUNT, true));
      return BigInt64Array.from({ length: params.n }, (_, i) => {
        const value = i < stored ? view.getBigUint64(PLAINTEXT_DATA + 8 * i, true) : 0n;
        return value > wide / 2n ? value - wide : value;
      });
    },
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/** Splits a phase: message in [-t/2, t/2), noise in units of the error. */
export function noiseOf(phase: bigint, t: number): { message: number; noise: number } {
  const modulus = BigInt(t);
  const message = BigInt.asIntN(Math.log2(t), phase);
  return { message: Number(message), noise: Number((phase - message) / modulus) };
}
