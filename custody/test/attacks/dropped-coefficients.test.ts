import { headPolynomial, packLanes, scorePosition } from "@smile/he/lanes";
import { plan } from "@smile/he/planner";
import { addInto, type Residues, residueAt, setResidue } from "@smile/he/residues";
import { finishScore } from "@smile/he/sanitise";
import { prepareHead, scoreBatch } from "@smile/he/scoring";
import { type CiphertextResidues, decodeReply, encodeReply } from "@smile/he/wire";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { seededRandom } from "../../../he/test/arbitrary-heads.ts";
import { codeOf } from "../code-of.ts";
import { type EncryptedLoop, openLoop, plainScore, scoringHead } from "../encrypted-loop.ts";
import { noiseOf, openPhaseReader } from "../phase-reader.ts";
import { quotientAttack } from "./quotient-attack.ts";

/**
 * Beside the score, the product has partial sums of features times weights at every other coefficient. A plant that could read them
 * would learn F equations on the weights from one window instead of one, so a reply leaves those coefficients of c0 out. The
 * attacker here is that plant: it has its own secret key, its own frames, and the reply.
 */
const F = 16;
const LANE = 3;
const weights = Array.from({ length: F }, (_, f) => Math.round(1023 * Math.cos(1 + f * f)));
const head = { weights: [weights], bias: [12_345] };
const features = Int32Array.from({ length: F }, (_, f) => 127 - 9 * f);
const planned = plan({ featureCount: F, featureBits: 8, heads: [head], keyMode: "public", maxMerges: 1, modelPrivacy: "compact" });
const { params, lanes: laneTotal } = planned;
const { n, q, t } = params;
const position = scorePosition(LANE, F);
const others = Array.from({ length: n }, (_, i) => i).filter((i) => i !== position);

/** What stands at each coefficient of the product, in plaintext. */
const partialSums = (() => {
  const sums = new Array<number>(n).fill(0);
  packLanes([{ lane: LANE, features }], n, F).forEach((x, i) => {
    headPolynomial(weights, n).forEach((w, j) => {
      const k = i + j;
      if (x !== 0 && w !== 0) sums[k % n]! += k < n ? x * w : -x * w;
    });
  });
  return sums;
})();

const copy = ({ c0, c1 }: CiphertextResidues): CiphertextResidues => ({ c0: c0.slice(), c1: c1.slice() });

/** a * w modulo q and X^N + 1. */
function times(a: Residues, w: readonly bigint[]): Residues {
  const product = new Array<bigint>(n).fill(0n);
  for (let i = 0; i < n; i++) {
    const value = residueAt(a, i);
    w.forEach((weight, f) => {
      const k = i + (F - 1 - f);
      product[k % n]! += k < n ? value * weight : -value * weight;
    });
  }
  const residues = new Uint32Array(2 * n);
  product.forEach((value, i) => {
    setResidue(residues, i, value, q);
  });
  return residues;
}

describe("a partial sum cannot be had from a reply", () => {
  let loop: EncryptedLoop;
  let batch: CiphertextResidues;
  let product: CiphertextResidues;
  let sanitised: { whole: CiphertextResidues; reply: Uint8Array };
  beforeAll(async () => {
    loop = await openLoop(planned);
    const frame = loop.frame([{ lane: LANE, features }]);
    using one = loop.evaluator.prepare(headPolynomial([1], n));
    using prepared = loop.evaluator.prepare(headPolynomial(weights, n));
    [batch, product] = loop.evaluator.multiply(frame, "full", [one, prepared]) as [CiphertextResidues, CiphertextResidues];

    const zero = loop.zeros.next();
    const whole = copy(product);
    addInto(whole.c0, zero.c0, q);
    addInto(whole.c1, zero.c1, q);
    const finished = copy(whole);
    const { floodBits } = planned;
    finishScore(finished, { bias: head.bias[0]!, lanes: [LANE], featureCount: F, floodBits, q, t });
    sanitised = { whole, reply: encodeReply(params, finished, [LANE], F) };
    return () => loop[Symbol.dispose]();
  });

  it("by decrypting it: what stands beside the score is spread over all residues, where the whole product would show every sum", async () => {
    using reader = await openPhaseReader(params, loop.keys.secretKey);
    const messages = (ciphertext: CiphertextResidues) => Array.from(reader.phases(ciphertext, false), (phase) => noiseOf(phase, t).message);
    expect(messages(sanitised.whole), "with all of c0 the attack succeeds").toEqual(partialSums);

    const opened = decodeReply(params, sanitised.reply, [LANE], F);
    expect(messages(opened)[position]).toBe(plainScore(head, 0, features));
    expect(loop.decryptor.decrypt(sanitised.reply, [LANE])).toEqual([plainScore(head, 0, features)]);
    // By chance one of 2,048 fits with probability 2,048 / t, and three with less than 10^-9.
    expect(t).toBeGreaterThan(2 ** 20);
    const found = messages(opened);
    expect(others.filter((i) => found[i] === partialSums[i]).length).toBeLessThan(3);
    // A quarter of uniform residues is that small; eight standard deviations about it.
    const small = Array.from(reader.phases(opened, false)).filter((phase) => (phase < 0n ? -phase : phase) < q / 8n).length;
    expect(Math.abs(small - n / 4)).toBeLessThan(8 * Math.sqrt((3 * n) / 16));
  });

  it("by computing what was left out of c0 from c1, which works on a reply that was not sanitised", () => {
    const rebuild = (reply: Uint8Array) => {
      const { c1 } = decodeReply(params, reply, [LANE], F);
      return times(batch.c0, quotientAttack(batch.c1, c1, F, params));
    };
    const equal = (c0: Residues, to: Residues) => others.filter((i) => residueAt(c0, i) === residueAt(to, i)).length;
    expect(equal(rebuild(encodeReply(params, product, [LANE], F)), product.c0)).toBe(n - 1);
    const rebuilt = rebuild(sanitised.reply);
    expect(equal(rebuilt, product.c0)).toBe(0);
    expect(equal(rebuilt, sanitised.whole.c0)).toBe(0);
  });

  it("at all: whatever the partial sums were, the reply would be the same, byte for byte", async () => {
    using reader = await openPhaseReader(params, loop.keys.secretKey);
    const wished = others.map((i) => (i * 7919) % 1000);
    const phases = reader.phases(sanitised.whole, false);
    const other = copy(sanitised.whole);
    others.forEach((i, k) => {
      const { message } = noiseOf(phases[i]!, t);
      setResidue(other.c0, i, residueAt(other.c0, i) + BigInt(wished[k]! - message), q);
    });
    const changed = reader.phases(other, false);
    expect(others.map((i) => noiseOf(changed[i]!, t).message)).toEqual(wished);
    expect(encodeReply(params, other, [LANE], F)).toEqual(encodeReply(params, sanitised.whole, [LANE], F));
  });

  it("by naming more lanes: neither the service nor the plant takes a lane that is none, or one that the reply is not about", async () => {
    using prepared = prepareHead(loop.evaluator, scoringHead(planned, head));
    const frame = loop.frame([{ lane: LANE, features }]);
    const score = (lanes: readonly number[]) => scoreBatch(loop.evaluator, prepared, frame, lanes, loop.zeros);
    // A lane of 3 and a sixteenth would be the coefficient behind the score of lane 3.
    for (const lanes of [[LANE, LANE + 1 / F], [LANE, LANE], [LANE, laneTotal], [-1, LANE], [LANE, 2], [Number.NaN]])
      expect(await codeOf(() => score(lanes))).toBe("LANES_INVALID");
    expect(await codeOf(() => loop.decryptor.decrypt(sanitised.reply, [LANE, LANE + 1]))).toBe("FRAME_WRONG_LENGTH");
    expect(await codeOf(() => loop.decryptor.decrypt(sanitised.reply, [LANE + 1 / F]))).toBe("LANES_INVALID");

    const lane = fc.oneof(fc.integer({ min: -3, max: laneTotal + 3 }), fc.double({ min: -1, max: laneTotal }));
    fc.assert(
      fc.property(fc.array(lane, { minLength: 1, maxLength: 8 }), (lanes) => {
        const isValid = lanes.every((l, i) => Number.isInteger(l) && l >= 0 && l < laneTotal && (i === 0 || l > lanes[i - 1]!));
        let accepted = true;
        try {
          encodeReply(params, product, lanes, F);
        } catch {
          accepted = false;
        }
        expect(accepted).toBe(isValid);
      }),
      { numRuns: 300, seed: 44 },
    );
  });

  it("by naming all lanes: a lane without a window has the score of no features, which is the bias", () => {
    const every = Array.from({ length: laneTotal }, (_, lane) => lane);
    const [reply] = loop.reply(head, [loop.frame([{ lane: LANE, features }])], every);
    const expected = every.map((lane) => (lane === LANE ? plainScore(head, 0, features) : head.bias[0]!));
    expect(loop.decryptor.decrypt(reply!, every)).toEqual(expected);
  });

  it("by filling coefficients across lanes: each score is of the F coefficients of its own lane, whatever they are", () => {
    const random = seededRandom(47);
    const coefficients = Int32Array.from({ length: n }, () => Math.round((2 * random() - 1) * 127));
    const every = Array.from({ length: laneTotal }, (_, lane) => lane);
    const [reply] = loop.reply(head, [loop.encryptor.encrypt(coefficients)], every);
    const expected = every.map((lane) => plainScore(head, 0, coefficients.subarray(lane * F, (lane + 1) * F)));
    expect(loop.decryptor.decrypt(reply!, every)).toEqual(expected);
  });
});
