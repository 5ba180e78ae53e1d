import { PipelineError } from "@smile/errors/pipeline-error";
import type { EncryptionKey, Evaluator, FrameEncryptor, PreparedPolynomial } from "./backend.ts";
import type { Params } from "./params.ts";
import { pick, type Residues, residueAt, setResidue, spread } from "./residues.ts";
import { decodeFull, decodeSeeded, encodeFull, encodeSeeded, SEED_BYTES } from "./wire.ts";

/**
 * The backend that does not encrypt: c0 is the message modulo q in coefficient form, c1 is zero. Same lengths, same lanes, same
 * refusals, so pipelines are tested without cryptography. Its keys are this text, so that a real key is never mistaken for one.
 */
export const IDENTITY_KEY: Uint8Array = new TextEncoder().encode("smile-identity-key: this scheme does not encrypt");

export function openIdentityEncryptor(params: Params, key: EncryptionKey): FrameEncryptor {
  checkKey(key.bytes);
  return {
    encrypt(coefficients) {
      const c0 = new Uint32Array(2 * params.n);
      coefficients.forEach((c, i) => {
        if (c !== 0) setResidue(c0, i, BigInt(c), params.q);
      });
      return key.mode === "public"
        ? encodeFull(params, { c0, c1: new Uint32Array(2 * params.n) })
        : encodeSeeded(params, { c0, seed: new Uint8Array(SEED_BYTES) });
    },
    memoryBytes: () => 0,
    [Symbol.dispose]() {},
  };
}

export function openIdentityEvaluator(params: Params): Evaluator {
  const prepared = new WeakMap<PreparedPolynomial, [index: number, weight: number][]>();
  const multiply: Evaluator["multiply"] = (ciphertext, form, polynomials) => {
    const { c0 } = form === "full" ? decodeFull(params, ciphertext) : decodeSeeded(params, ciphertext);
    const message = centred(c0, params);
    return polynomials.map((polynomial) => ({
      c0: negacyclicProduct(message, prepared.get(polynomial) ?? [], params),
      c1: new Uint32Array(2 * params.n),
    }));
  };
  return {
    prepare(coefficients) {
      const handle = { [Symbol.dispose]() {} };
      prepared.set(
        handle,
        Array.from(coefficients, (c, i): [number, number] => [i, c]).filter(([, c]) => c !== 0),
      );
      return handle;
    },
    multiply,
    multiplySanitised: (ciphertext, form, polynomials, _zeros, positions, use) =>
      multiply(ciphertext, form, polynomials).map(({ c0, c1 }, output) =>
        use({ c0: spread(pick(c0, positions), positions, new Uint32Array(2 * params.n)), c1 }, output),
      ),
    openZeros(publicKey) {
      checkKey(publicKey);
      return { next: () => ({ c0: new Uint32Array(2 * params.n), c1: new Uint32Array(2 * params.n) }), [Symbol.dispose]() {} };
    },
    memoryBytes: () => 0,
    [Symbol.dispose]() {},
  };
}

function checkKey(bytes: Uint8Array): void {
  if (Buffer.compare(bytes, IDENTITY_KEY) !== 0) throw new PipelineError("KEY_MISMATCH", "the identity scheme takes only its own key");
}

/** Residues as integers in (-q/2, q/2), [N]; exact for messages, which are far below 2^53. */
function centred(residues: Residues, { n, q }: Params): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => {
    const residue = residueAt(residues, i);
    return Number(residue > q / 2n ? residue - q : residue);
  });
}

/** message * weights in Z[X] / (X^N + 1), modulo q. */
function negacyclicProduct(message: Float64Array, weights: readonly [number, number][], { n, q }: Params): Residues {
  const product = new Float64Array(n);
  for (const [index, weight] of weights) {
    for (let i = 0; i < n; i++) {
      const k = i + index;
      if (k < n) product[k]! += message[i]! * weight;
      else product[k - n]! -= message[i]! * weight;
    }
  }
  const residues = new Uint32Array(2 * n);
  product.forEach((value, i) => {
    setResidue(residues, i, BigInt(value), q);
  });
  return residues;
}
