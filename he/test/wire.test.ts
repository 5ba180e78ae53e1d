import { isPipelineError } from "@smile/errors/pipeline-error";
import fc from "fast-check";
import { expect, it } from "vitest";
import { scorePosition } from "../src/lanes.ts";
import { type Params, paramsId, residueBits } from "../src/params.ts";
import { plan } from "../src/planner.ts";
import { addInto, type Residues, setResidue } from "../src/residues.ts";
import {
  checkFrame,
  decodeFull,
  decodeReply,
  decodeSeeded,
  encodeFull,
  encodeReply,
  encodeSeeded,
  frameLength,
  mergeFrames,
  replyLength,
  SEED_BYTES,
} from "../src/wire.ts";
import { seededRandom } from "./arbitrary-heads.ts";

const F = 64;
const head = { weights: [Array.from({ length: F }, () => 1023)], bias: [0] };
const request = { featureCount: F, featureBits: 8, heads: [head], keyMode: "public", maxMerges: 32, modelPrivacy: "compact" } as const;
const { params } = plan(request);

function randomResidues(seed: number, { n, q }: Params): Residues {
  const random = seededRandom(seed);
  const residues = new Uint32Array(2 * n);
  for (let i = 0; i < n; i++) setResidue(residues, i, BigInt(Math.floor(random() * 2 ** 53)) * 977n, q);
  return residues;
}
const codeOf = (work: () => unknown) => {
  try {
    work();
  } catch (error) {
    return isPipelineError(error) ? error.code : error;
  }
  return "accepted";
};

it("full and seeded ciphertexts come back from the wire, at exactly their stated length", () => {
  fc.assert(
    fc.property(fc.integer(), (seed) => {
      const c0 = randomResidues(seed, params);
      const c1 = randomResidues(seed + 1, params);
      const full = encodeFull(params, { c0, c1 });
      expect(full.length).toBe(frameLength(params, "public"));
      expect(decodeFull(params, full)).toEqual({ c0, c1 });
      const seedBytes = Uint8Array.from({ length: SEED_BYTES }, (_, i) => (seed >> (i % 4)) & 255);
      const seeded = encodeSeeded(params, { c0, seed: seedBytes });
      expect(seeded.length).toBe(frameLength(params, "symmetric"));
      expect(decodeSeeded(params, seeded)).toEqual({ c0, seed: seedBytes });
      expect(() => checkFrame(params, "public", full)).not.toThrow();
      expect(() => checkFrame(params, "symmetric", seeded)).not.toThrow();
    }),
    { numRuns: 20, seed: 40 },
  );
});

it("a reply keeps c1 and of c0 only the scores of its lanes", () => {
  const every = Array.from({ length: 32 }, (_, lane) => lane);
  fc.assert(
    fc.property(fc.subarray(every, { minLength: 1 }), fc.integer(), (lanes, seed) => {
      const c0 = randomResidues(seed, params);
      const c1 = randomResidues(seed + 1, params);
      const reply = encodeReply(params, { c0, c1 }, lanes, F);
      expect(reply.length).toBe(replyLength(params, lanes.length));
      const back = decodeReply(params, reply, lanes, F);
      expect(back.c1).toEqual(c1);
      const kept = new Set(lanes.map((lane) => scorePosition(lane, F)));
      for (let i = 0; i < params.n; i++) {
        expect([back.c0[2 * i], back.c0[2 * i + 1]]).toEqual(kept.has(i) ? [c0[2 * i], c0[2 * i + 1]] : [0, 0]);
      }
    }),
    { numRuns: 10, seed: 41 },
  );
});

it("replies for lanes that are not there, twice there or out of order are neither written nor read", () => {
  const c = randomResidues(1, params);
  for (const lanes of [[32], [-1], [0, 0], [5, 4], [0.5]]) {
    expect(codeOf(() => encodeReply(params, { c0: c, c1: c }, lanes, F))).toBe("LANES_INVALID");
    expect(codeOf(() => decodeReply(params, new Uint8Array(replyLength(params, lanes.length)), lanes, F))).toBe("LANES_INVALID");
  }
});

it("merging adds residue by residue, in any order and grouping", () => {
  const parts = [1, 2, 3, 4].map((seed) => ({ c0: randomResidues(seed, params), c1: randomResidues(10 + seed, params) }));
  const frames = parts.map((part) => encodeFull(params, part));
  const sum = { c0: new Uint32Array(2 * params.n), c1: new Uint32Array(2 * params.n) };
  for (const { c0, c1 } of parts) {
    addInto(sum.c0, c0, params.q);
    addInto(sum.c1, c1, params.q);
  }
  const merged = mergeFrames(params, frames);
  expect(decodeFull(params, merged)).toEqual(sum);
  expect(mergeFrames(params, frames.toReversed())).toEqual(merged);
  expect(mergeFrames(params, [mergeFrames(params, frames.slice(0, 2)), mergeFrames(params, frames.slice(2))])).toEqual(merged);
  expect(mergeFrames(params, frames.slice(0, 1))).toEqual(frames[0]);
  expect(() => mergeFrames(params, [])).toThrow(RangeError);
  expect(codeOf(() => mergeFrames(params, [frames[0]!, frames[1]!.subarray(1)]))).toBe("FRAME_WRONG_LENGTH");
});

it("every length but the right one is refused, and so is every key mode's length in the other mode", () => {
  for (const mode of ["public", "symmetric"] as const) {
    const right = frameLength(params, mode);
    for (const length of [0, 1, right - 1, right + 1, 2 * right, frameLength(params, mode === "public" ? "symmetric" : "public")])
      expect(codeOf(() => checkFrame(params, mode, new Uint8Array(length)))).toBe("FRAME_WRONG_LENGTH");
  }
});

it("an all-zero c1 is refused as not encrypted, but under the scheme that does not encrypt", () => {
  const clear = encodeFull(params, { c0: randomResidues(1, params), c1: new Uint32Array(2 * params.n) });
  expect(codeOf(() => checkFrame(params, "public", clear))).toBe("CIPHERTEXT_TRANSPARENT");
  expect(codeOf(() => checkFrame({ ...params, scheme: "identity" }, "public", clear))).toBe("accepted");
});

it("a full ciphertext of 32 lanes takes at most 440 bytes per window in symmetric mode, 870 in public mode, a reply 450 per score", () => {
  const symmetric = plan({ ...request, keyMode: "symmetric" }).params;
  expect(frameLength(symmetric, "symmetric") / 32).toBeLessThanOrEqual(440);
  expect(frameLength(params, "public") / 32).toBeLessThanOrEqual(870);
  expect(replyLength(params, 32) / 32).toBeLessThanOrEqual(450);
});

it("parameters are named by a hash that any change of scheme, ring or moduli changes", () => {
  const ids = [
    params,
    { ...params, scheme: "identity" as const },
    { ...params, n: 4096 },
    { ...params, q: params.q - 2n },
    { ...params, t: params.t * 2 },
  ].map(paramsId);
  expect(new Set(ids).size).toBe(5);
  expect(ids[0]).toMatch(/^[0-9a-f]{64}$/);
  expect(paramsId({ ...params })).toBe(ids[0]);
  expect(residueBits(params)).toBe(params.q.toString(2).length);
});
