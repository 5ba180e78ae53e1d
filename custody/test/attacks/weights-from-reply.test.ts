import { headPolynomial, scorePosition } from "@smile/he/lanes";
import { residueBits } from "@smile/he/params";
import { plan } from "@smile/he/planner";
import { residueAt } from "@smile/he/residues";
import { decodeReply, replyLength } from "@smile/he/wire";
import { describe, expect, it } from "vitest";
import { openLoop } from "../encrypted-loop.ts";
import { quotientAttack } from "./quotient-attack.ts";

const F = 16;
const weights = Array.from({ length: F }, (_, f) => Math.round(1023 * Math.cos(1 + f * f)));
const head = { weights: [weights], bias: [12_345] };
const features = Int32Array.from({ length: F }, (_, f) => 127 - 9 * f);
const planned = plan({ featureCount: F, featureBits: 8, heads: [head], keyMode: "public", maxMerges: 1, modelPrivacy: "compact" });
const { params } = planned;

describe("reply sanitising", () => {
  it("without it, the quotient of two polynomials gives all weights away; with it, none", async () => {
    using loop = await openLoop(planned);
    const frame = loop.frame([{ lane: 3, features }]);
    using one = loop.evaluator.prepare(headPolynomial([1], params.n));
    using prepared = loop.evaluator.prepare(headPolynomial(weights, params.n));
    // The product with 1 is the frame itself, in coefficient form.
    const [batch, product] = loop.evaluator.multiply(frame, "full", [one, prepared]);
    expect(quotientAttack(batch!.c1, product!.c1, F, params)).toEqual(weights.map(BigInt));

    const [reply] = loop.reply(head, [frame], [3]);
    const { c1 } = decodeReply(params, reply!, [3], F);
    const found = quotientAttack(batch!.c1, c1, F, params);
    expect(found.filter((weight, f) => weight === BigInt(weights[f]!))).toEqual([]);
    // Not even small: what comes out is spread over all residues.
    expect(found.filter((weight) => weight > -(2n ** 30n) && weight < 2n ** 30n)).toEqual([]);
  });

  it("two replies to one batch share no residue, nor does their difference tell the product", async () => {
    using loop = await openLoop(planned);
    const frame = loop.frame([{ lane: 0, features }]);
    const [a, b] = [0, 1].map(() => decodeReply(params, loop.reply(head, [frame], [0])[0]!, [0], F));
    let equal = 0;
    for (let i = 0; i < params.n; i++) if (residueAt(a!.c1, i) === residueAt(b!.c1, i)) equal += 1;
    expect(equal).toBe(0);
    expect(residueAt(a!.c0, scorePosition(0, F))).not.toBe(residueAt(b!.c0, scorePosition(0, F)));
  });

  it("of c0 a reply carries one residue per occupied lane and nothing more", async () => {
    using loop = await openLoop(planned);
    const lanes = [0, 7, planned.lanes - 1];
    const [reply] = loop.reply(head, [loop.frame(lanes.map((lane) => ({ lane, features })))], lanes);
    const bits = residueBits(params);
    expect(reply!.length).toBe(Math.ceil((params.n * bits) / 8) + Math.ceil((lanes.length * bits) / 8));
    expect(reply!.length).toBe(replyLength(params, lanes.length));
    const { c0 } = decodeReply(params, reply!, lanes, F);
    const present = Array.from({ length: params.n }, (_, i) => i).filter((i) => residueAt(c0, i) !== 0n);
    expect(present).toEqual(lanes.map((lane) => scorePosition(lane, F)));
  });
});
