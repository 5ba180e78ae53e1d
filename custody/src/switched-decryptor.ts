import { PipelineError } from "@smile/errors/pipeline-error";
import { scorePosition } from "@smile/he/lanes";
import type { Params } from "@smile/he/params";
import { leastReplyBits, type ReplyForm } from "@smile/he/replies";
import { decodeSwitchedReply } from "@smile/he/switched-reply";
import type { ReplyDecryptor } from "./decryptor.ts";

/**
 * Decrypts switched replies in plain integer arithmetic: c0 + c1 s modulo 2^bits at the score positions. All sums stay below 2^53, so
 * doubles are exact. No step depends on the key but the values that are multiplied: no branch and no index.
 * @param secret [N] coefficients of the secret key, each -1, 0 or 1; copied, and the copy is wiped when the decryptor is disposed of
 * @throws {PipelineError} DOCUMENT_INVALID when the step is smaller than the noise of a decryption: such scores would tell of the secret key
 *   (each is then an equation in its coefficients, and N of them give it), so nobody's deployment may ask for them
 */
export function switchedDecryptor(params: Params, secret: Int8Array, featureCount: number, { bits, step }: ReplyForm): ReplyDecryptor {
  const { n, t } = params;
  const least = leastReplyBits(params, step);
  if (least === undefined || bits < least) {
    const what = `replies: ${bits} bits cannot be right to a step of ${step}, and such scores would tell of the secret key`;
    throw new PipelineError("DOCUMENT_INVALID", what, { bits, step, leastBits: least ?? 0 });
  }
  const modulus = 2 ** bits;
  const perStep = t / (modulus * step);
  // X^N = -1: coefficient p of c1 * s is the sum of c1[j] * s[p - j], where s[-d] stands for -s[N - d].
  const turned = new Float64Array(2 * n);
  for (let k = 0; k < n; k++) {
    turned[k] = secret[n - 1 - k]!;
    turned[n + k] = -secret[n - 1 - k]!;
  }
  return {
    decrypt(reply, lanes) {
      const { c0, c1 } = decodeSwitchedReply(params, bits, reply, lanes, featureCount);
      const from = lanes.map((lane) => n - 1 - scorePosition(lane, featureCount));
      return Array.from(productsAt(c1, turned, from), (product, i) => {
        const phase = c0[i]! + product;
        const centred = phase - modulus * Math.round(phase / modulus);
        return Math.round(centred * perStep) * step + 0; // + 0: no negative zero
      });
    },
    memoryBytes: () => 0,
    [Symbol.dispose]: () => void turned.fill(0),
  };
}

/** Sums of c1[j] * turned[from + j], four side by side: each addition waits for the one before it, and c1 is read once for all of them. */
function productsAt(c1: Float64Array, turned: Float64Array, from: readonly number[]): Float64Array {
  const sums = new Float64Array(from.length);
  const part = (start: number) => turned.subarray(start, start + c1.length);
  for (let i = 0; i < from.length; i += 4) {
    // Where there are not four left, the first is taken again.
    const p = part(from[i]!);
    const q = part(from[i + 1] ?? from[i]!);
    const r = part(from[i + 2] ?? from[i]!);
    const s = part(from[i + 3] ?? from[i]!);
    let [a, b, c, d] = [0, 0, 0, 0];
    for (let j = 0; j < c1.length; j++) {
      const residue = c1[j]!;
      a += residue * p[j]!;
      b += residue * q[j]!;
      c += residue * r[j]!;
      d += residue * s[j]!;
    }
    sums.set([a, b, c, d].slice(0, from.length - i), i);
  }
  return sums;
}
