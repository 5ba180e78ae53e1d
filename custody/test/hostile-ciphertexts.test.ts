import { isPipelineError } from "@smile/errors/pipeline-error";
import { openEvaluator } from "@smile/he/open";
import { plan } from "@smile/he/planner";
import { residueAt } from "@smile/he/residues";
import { openSeal } from "@smile/he/seal-module";
import { decodeFull, encodeFull, frameLength } from "@smile/he/wire";
import fc from "fast-check";
import { afterAll, beforeEach, expect, it, vi } from "vitest";
import { openLoop } from "./encrypted-loop.ts";

/** What SEAL was given to load as a ciphertext. */
const loaded = vi.hoisted(() => ({ ciphertexts: [] as Uint8Array[] }));
vi.mock("@smile/he/seal-module", async (original) => {
  const real = await original<typeof import("@smile/he/seal-module")>();
  return {
    openSeal: async (params: Parameters<typeof real.openSeal>[0]) => {
      const session = await real.openSeal(params);
      const type = session.seal.Ciphertext.prototype as { loadFromArray(context: unknown, bytes: Uint8Array): void };
      const load = type.loadFromArray;
      type.loadFromArray = function (context, bytes) {
        loaded.ciphertexts.push(bytes.slice());
        load.call(this, context, bytes);
      };
      return session;
    },
  };
});

/** Of a ciphertext that SEAL saved without compression; see he/src/seal-layout.ts. */
const HEADER = 113;
const SCALE = 73;
const F = 64;

const planned = plan({
  ...{ scheme: "bgv", featureCount: F, featureBits: 8, heads: [{ weights: [Array<number>(F).fill(500)], bias: [1] }] },
  ...{ keyMode: "public", maxMerges: 4, modelPrivacy: "compact" },
});
const { params } = planned;
const loop = await openLoop(planned);
const evaluator = await openEvaluator(params);
const polynomial = evaluator.prepare(new Int32Array(params.n).fill(1));
afterAll(() => {
  polynomial[Symbol.dispose]();
  evaluator[Symbol.dispose]();
  loop[Symbol.dispose]();
});
beforeEach(() => {
  loaded.ciphertexts.length = 0;
});

const good = loop.frame([{ lane: 0, features: Int32Array.from({ length: F }, (_, f) => f) }]);
const length = frameLength(params, "public");

/** "multiplied", or the code of the refusal. */
function fateOf(ciphertext: Uint8Array): string {
  try {
    evaluator.multiply(ciphertext, "full", [polynomial]);
    return "multiplied";
  } catch (error) {
    if (!isPipelineError(error)) throw error;
    return error.code;
  }
}

/** What SEAL itself would save: a compressed ciphertext, and one whose scale is NaN. */
async function savedBySeal(): Promise<{ zstd: Uint8Array; nanScale: Uint8Array }> {
  using session = await openSeal(params);
  const { seal, context } = session;
  using id = context.firstParmsId();
  using cipher = new seal.Ciphertext(context, id, 2);
  cipher.resize(2);
  const nanScale = Uint8Array.from(cipher.saveToArray(seal.ComprModeType.none));
  new DataView(nanScale.buffer).setFloat64(SCALE, Number.NaN, true);
  return { zstd: Uint8Array.from(cipher.saveToArray(seal.ComprModeType.zstd)), nanScale };
}

function withResidue(which: "c0" | "c1", value: bigint): Uint8Array {
  const residues = decodeFull(params, good);
  residues[which][0] = Number(value & 0xffffffffn);
  residues[which][1] = Number(value >> 32n);
  return encodeFull(params, residues);
}

it("bytes that are no ciphertext of the parameters are refused before SEAL is given any", async () => {
  const { zstd, nanScale } = await savedBySeal();
  const fitted = new Uint8Array(length).fill(0xff);
  fitted.set(zstd.subarray(0, length - 16));
  expect([zstd, nanScale, good.subarray(1), new Uint8Array(0), new Uint8Array(1 << 20)].map(fateOf)).toEqual(
    Array(5).fill("FRAME_WRONG_LENGTH"),
  );
  expect([fitted, withResidue("c0", params.q), withResidue("c1", params.q)].map(fateOf)).toEqual(Array(3).fill("RESIDUE_OUT_OF_RANGE"));
  expect(loaded.ciphertexts).toEqual([]);
  expect([withResidue("c0", params.q - 1n), good].map(fateOf)).toEqual(["multiplied", "multiplied"]);
});

it("a ciphertext whose second polynomial is zero is not multiplied", () => {
  const { c0, c1 } = decodeFull(params, good);
  expect(fateOf(encodeFull(params, { c0, c1: c1.fill(0) }))).toBe("CIPHERTEXT_TRANSPARENT");
});

it("SEAL loads residues below q under a header of our own, whatever was changed in a ciphertext", () => {
  expect(fateOf(good)).toBe("multiplied");
  const header = loaded.ciphertexts[0]!.slice(0, HEADER);
  // A run of ones makes a residue that is not below q.
  const byte = fc.record({ at: fc.nat(length - 1), byte: fc.nat(255), run: fc.constant(1) });
  const ones = fc.record({ at: fc.nat(length - 1), byte: fc.constant(255), run: fc.constant(16) });
  const change = fc.oneof({ weight: 50, arbitrary: byte }, ones);
  const resize = fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.integer({ min: -length, max: 200 }));
  const fates = new Set<string>();
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 40 }), resize, (changes, more) => {
      const bytes = new Uint8Array(length + more);
      bytes.set(good.subarray(0, bytes.length));
      for (const { at, byte, run } of changes) bytes.fill(byte, at, at + run);
      loaded.ciphertexts.length = 0;
      const fate = fateOf(bytes);
      fates.add(fate);
      expect(loaded.ciphertexts).toHaveLength(fate === "multiplied" ? 1 : 0);
      for (const given of loaded.ciphertexts) {
        expect(given.length).toBe(HEADER + 16 * params.n);
        expect(given.slice(0, HEADER)).toEqual(header);
        const words = new Uint32Array(given.slice(HEADER).buffer);
        for (let i = 0; i < 2 * params.n; i++) if (residueAt(words, i) >= params.q) throw new Error(`residue ${i} is not below q`);
      }
    }),
    { seed: 11, numRuns: 150 },
  );
  // No kind of change was missing.
  expect([...fates].toSorted()).toEqual(["FRAME_WRONG_LENGTH", "RESIDUE_OUT_OF_RANGE", "multiplied"]);
});
