import { PipelineError } from "@smile/errors/pipeline-error";
import { IDENTITY_KEY } from "@smile/he/identity-backend";
import { scorePosition } from "@smile/he/lanes";
import type { Params } from "@smile/he/params";
import { residueAt } from "@smile/he/residues";
import { SealLayout, uncompressedKey } from "@smile/he/seal-layout";
import { openSeal } from "@smile/he/seal-module";
import { decodeReply } from "@smile/he/wire";

/** The plant's side: the only code that turns replies into scores. Holds the secret key in WASM memory until disposed of. */
export interface ReplyDecryptor extends Disposable {
  /**
   * @param reply one output's reply, as the model service sent it
   * @param lanes the occupied lanes of the batch, ascending
   * @returns one integer score per lane, in (-t/2, t/2), in the order of `lanes`
   * @throws {PipelineError} FRAME_WRONG_LENGTH, RESIDUE_OUT_OF_RANGE, LANES_INVALID
   */
  decrypt(reply: Uint8Array, lanes: readonly number[]): number[];
  /** Bytes of memory that the backend holds outside JavaScript's heap. */
  memoryBytes(): number;
}

/**
 * @param featureCount F, which fixes where the scores stand
 * @throws {PipelineError} KEY_MISMATCH when the secret key was not made for these parameters
 */
export async function openDecryptor(params: Params, secretKey: Uint8Array, featureCount: number): Promise<ReplyDecryptor> {
  return params.scheme === "bgv"
    ? openSealDecryptor(params, secretKey, featureCount)
    : openIdentityDecryptor(params, secretKey, featureCount);
}

async function openSealDecryptor(params: Params, secretKey: Uint8Array, featureCount: number): Promise<ReplyDecryptor> {
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
    decrypt(reply, lanes) {
      layout.loadFull(decodeReply(params, reply, lanes, featureCount), false, cipher);
      decryptor.decrypt(cipher, plain);
      const values = layout.readPlain(plain, params.n);
      return lanes.map((lane) => {
        const value = values[scorePosition(lane, featureCount)]!;
        return value >= params.t / 2 ? value - params.t : value;
      });
    },
    memoryBytes: () => session.memoryBytes(),
    [Symbol.dispose]: () => owned.dispose(),
  };
}

function openIdentityDecryptor(params: Params, secretKey: Uint8Array, featureCount: number): ReplyDecryptor {
  if (Buffer.compare(secretKey, IDENTITY_KEY) !== 0) throw new PipelineError("KEY_MISMATCH", "the identity scheme takes only its own key");
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
