import { scorePosition } from "@smile/he/lanes";
import { plan } from "@smile/he/planner";
import { residueAt, setResidue } from "@smile/he/residues";
import { encodeSwitchedReply } from "@smile/he/switched-reply";
import { expect, it } from "vitest";
import { openLoop } from "../encrypted-loop.ts";
import { openPhaseReader } from "../phase-reader.ts";

/**
 * An attack that succeeds by nature on rounded scores, and the reason why they are not the default (decision 13; for approximate schemes
 * Li and Micciancio, EUROCRYPT 2021). Which way a score half-way between two steps is rounded depends on the noise, which is a sum over the
 * secret key with factors that the service knows, the rounding errors of c1. The attacker has the replies, knows exact scores (a
 * gateway's windows, the weights), and is told the plant's rounded ones.
 */
const F = 64;
const head = { weights: [Array.from({ length: F }, (_, f) => Math.round(1023 * Math.cos(1 + f * f)))], bias: [0] };
const request = { featureCount: F, featureBits: 8, heads: [head], keyMode: "public", maxMerges: 1, modelPrivacy: "compact" } as const;
const REPLIES = 200;

/** Of the key's coefficients that are not zero, the share whose sign comes out; half of them by chance. */
async function shareOfSigns(step: number): Promise<number> {
  const planned = plan({ ...request, replyStep: step });
  const { params, replies } = planned;
  const { n, q, t } = params;
  using loop = await openLoop(planned);
  const lanes = Array.from({ length: planned.lanes }, (_, lane) => lane);
  const guess = new Float64Array(n);
  const errors = new Float64Array(n);
  for (let round = 0; round < REPLIES; round++) {
    const reply = loop.zeros.next();
    const exact = lanes.map((lane) => step * (lane - 16) + Math.floor(step / 2));
    exact.forEach((score, lane) => {
      const position = scorePosition(lane, F);
      setResidue(reply.c0, position, residueAt(reply.c0, position) + BigInt(score), q);
    });
    for (let j = 0; j < n; j++) {
      const c = residueAt(reply.c1, j);
      const scaled = (Number(c % BigInt(t)) - Number(c) / Number(q)) * (2 ** replies!.bits / t);
      errors[j] = Math.round(scaled) - scaled;
    }
    const told = loop.decryptor.decrypt(encodeSwitchedReply(params, replies!.bits, reply, lanes, F), lanes);
    told.forEach((score, lane) => {
      const up = Math.sign(score - exact[lane]!);
      const position = scorePosition(lane, F);
      for (let j = 0; j < n; j++) {
        const i = position - j;
        if (i >= 0) guess[i]! += up * errors[j]!;
        else guess[i + n]! -= up * errors[j]!;
      }
    });
  }
  using reader = await openPhaseReader(params, loop.keys.secretKey);
  const one = new Uint32Array(2 * n);
  one[0] = 1;
  const secret = reader.phases({ c0: new Uint32Array(2 * n), c1: one }, false);
  const signs = Array.from(secret, Number).flatMap((s, i) => (s === 0 ? [] : [s === Math.sign(guess[i]!)]));
  return signs.filter((right) => right).length / signs.length;
}

it("6,400 rounded scores of windows that were chosen for it, known exactly and told back, give nine tenths of the secret key's signs", async () => {
  expect(await shareOfSigns(256)).toBeGreaterThan(0.9);
});

it("and exact scores give none of it, whatever windows are chosen: they do not depend on the noise", async () => {
  expect(await shareOfSigns(1)).toBe(0);
});
