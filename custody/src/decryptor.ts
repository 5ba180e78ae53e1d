import { PipelineError } from "@smile/errors/pipeline-error";
import { IDENTITY_KEY } from "@smile/he/identity-backend";
import { scorePosition } from "@smile/he/lanes";
import type { Params } from "@smile/he/params";
import type { ReplyForm } from "@smile/he/replies";
import { residueAt, setResidue } from "@smile/he/residues";
import { SealLayout, uncompressedKey } from "@smile/he/seal-layout";
import { openSeal } from "@smile/he/seal-module";
import { type CiphertextResidues, decodeReply } from "@smile/he/wire";
import { switchedDecryptor } from "./switched-decryptor.ts";

/**
 * The plant's side: the only code that turns replies into scores. Holds the secret key until disposed of: in WASM memory for whole replies,
 * as coefficients for switched ones.
 */
export interface ReplyDecryptor extends Disposable {
  /**
   * @param reply one output's reply, as the model service sent it
   * @param lanes the occupied lanes of the batch, ascending
   * @returns one integer score per lane, in [-t/2, t/2], in the order of `lanes`; a multiple of the step where replies have one
   * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE, LANES_INVALID
   */
  decrypt(reply: Uint8Array, lanes: readonly number[]): number[];
  /** Bytes of memory that the backend holds outside JavaScript's heap. */
  memoryBytes(): number;
}

/**
 * @param featureCount F, which fixes where the scores stand
 * @param replies how the deployment says that replies are sent; undefined for whole ones
 * @throws {PipelineError} KEY_MISMATCH when the secret key was not made for these parameters; DOCUMENT_INVALID when the step is too
 *   small for its bits
 */
export async function openDecryptor(
  params: Params,
  secretKey: Uint8Array,
  featureCount: number,
  replies?: ReplyForm,
): Promise<ReplyDecryptor> {
  if (params.scheme === "identity") return openIdentityDecryptor(params, secretKey, featureCount, replies);
  using opened = new DisposableStack();
  const cipher = opened.use(await openSealPolynomials(params, secretKey));
  if (replies !== undefined) {
    const secret = secretCoefficients(params, cipher);
    try {
      return switchedDecryptor(params, secret, featureCount, replies);
    } finally {
      secret.fill(0);
    }
  }
  opened.move();
  return {
    decrypt(reply, lanes) {
      const positions = lanes.map((lane) => scorePosition(lane, featureCount));
      const values = cipher.decrypt(decodeReply(params, reply, lanes, featureCount), positions);
      return Array.from(values, (value) => centred(value, params.t));
    },
    memoryBytes: cipher.memoryBytes,
    [Symbol.dispose]: () => cipher[Symbol.dispose](),
  };
}

const centred = (value: number, t: number) => (value >= t / 2 ? value - t : value);

type SealPolynomials = Disposable & {
  /** @returns coefficients in [0, t) of what a ciphertext in coefficient form decrypts to, at some indices */
  decrypt(ciphertext: CiphertextResidues, at: readonly number[]): Float64Array;
  memoryBytes(): number;
};

async function openSealPolynomials(params: Params, secretKey: Uint8Array): Promise<SealPolynomials> {
  using opened = new DisposableStack();
  const session = opened.use(await openSeal(params));
  const { seal, context } = session;
  const key = opened.use(new seal.SecretKey());
  const bytes = uncompressedKey(secretKey, "secret", params);
  try {
    key.loadFromArray(context, bytes);
  } catch (error) {
    throw new PipelineError("KEY_MISMATCH", "the secret key does not load under these parameters", {}, error);
  }
  const decryptor = opened.use(new seal.Decryptor(context, key));
  const layout = opened.use(new SealLayout(session));
  const cipher = opened.use(new seal.Ciphertext());
  const plain = opened.use(new seal.Plaintext());
  const owned = opened.move();
  return {
    decrypt(ciphertext, at) {
      layout.loadFull(ciphertext, false, cipher);
      decryptor.decrypt(cipher, plain);
      return layout.readPlain(plain, at);
    },
    memoryBytes: () => session.memoryBytes(),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/**
 * SEAL keeps the secret key in NTT form; the ciphertext (0, 1) decrypts to its coefficients.
 * @throws {PipelineError} KEY_MISMATCH when one is not -1, 0 or 1, since the bounds of a plan hold for such keys only
 */
function secretCoefficients(params: Params, cipher: SealPolynomials): Int8Array {
  const one = new Uint32Array(2 * params.n);
  setResidue(one, 0, 1n, params.q);
  const all = Array.from({ length: params.n }, (_, i) => i);
  const values = cipher.decrypt({ c0: new Uint32Array(2 * params.n), c1: one }, all);
  const secret = Int8Array.from(values, (value) => centred(value, params.t));
  const isTernary = values.every((value) => Math.abs(centred(value, params.t)) <= 1);
  values.fill(0);
  if (!isTernary) throw new PipelineError("KEY_MISMATCH", "the secret key is not a ternary polynomial");
  return secret;
}

function openIdentityDecryptor(params: Params, secretKey: Uint8Array, featureCount: number, replies?: ReplyForm): ReplyDecryptor {
  if (Buffer.compare(secretKey, IDENTITY_KEY) !== 0) throw new PipelineError("KEY_MISMATCH", "the identity scheme takes only its own key");
  if (replies !== undefined) return switchedDecryptor(params, new Int8Array(params.n), featureCount, replies);
  const half = params.q / 2n;
  return {
    decrypt(reply, lanes) {
      const { c0 } = decodeReply(params, reply, lanes, featureCount);
      const t = BigInt(params.t);
      return lanes.map((lane) => {
        const residue = residueAt(c0, scorePosition(lane, featureCount));
        // The flooding is a multiple of t: reduce modulo t as decryption would.
        const value = BigInt.asIntN(64, residue > half ? residue - params.q : residue) % t;
        const score = Number(value);
        if (score >= params.t / 2) return score - params.t;
        return score < -params.t / 2 ? score + params.t : score;
      });
    },
    memoryBytes: () => 0,
    [Symbol.dispose]() {},
  };
}
