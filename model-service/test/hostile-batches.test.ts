import { hash } from "node:crypto";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { openEvaluator } from "@smile/he/open";
import { paramsId } from "@smile/he/params";
import { residueAt } from "@smile/he/residues";
import { openSeal } from "@smile/he/seal-module";
import { decodeFull, encodeFull, frameLength } from "@smile/he/wire";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { type Batch, batchCodec, deadLetterCodec, scoreCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { mergeToBatch } from "@smile/stream-processor/batch";
import fc from "fast-check";
import { afterAll, beforeEach, describe, expect, it, vi } from "vitest";
import { collect } from "../../test/support/collect.ts";
import { PLANT, smallDeployment } from "../../test/support/small-deployment.ts";
import { checkBatch } from "../src/check-batch.ts";
import { startModelService } from "../src/service.ts";

/** What SEAL was given to load as a ciphertext, in this thread. */
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
beforeEach(() => {
  loaded.ciphertexts.length = 0;
});

/** Of a ciphertext that SEAL saved without compression; see he/src/seal-layout.ts. */
const HEADER = 113;
const SCALE = 73;

const small = await smallDeployment({ scheme: "bgv" });
afterAll(() => small[Symbol.dispose]());
const { params } = small;
const good = batchOf(1);
const goodBatch = batchCodec.decode(good);
const length = frameLength(params, "public");

function batchOf(sequence: number): Buffer {
  return mergeToBatch(
    params,
    ["g0", "g1"].map((gateway, lane) => small.frame(gateway, sequence, [{ lane, features: small.window(lane) }])),
  );
}

/** A batch around other bytes, with their right hash: as a hostile gateway or a changed log would have it. */
const around = (ciphertext: Uint8Array, change: Partial<Batch> = {}): Batch => ({
  ...goodBatch,
  ciphertext,
  ciphertextHash: hash("sha256", ciphertext),
  ...change,
});

/** What SEAL itself would save: a compressed ciphertext, and one whose scale is NaN. */
async function sealBytes(): Promise<{ zstd: Uint8Array; nanScale: Uint8Array }> {
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
  const residues = decodeFull(params, goodBatch.ciphertext);
  // Not reduced: setResidue would bring it below q.
  residues[which][0] = Number(value & 0xffffffffn);
  residues[which][1] = Number(value >> 32n);
  return encodeFull(params, residues);
}
function withoutMask(): Uint8Array {
  const { c0, c1 } = decodeFull(params, goodBatch.ciphertext);
  return encodeFull(params, { c0, c1: c1.fill(0) });
}
/** Cut, or filled with ones, to the length that the parameters ask for. */
const fitted = (bytes: Uint8Array) => {
  const whole = new Uint8Array(length).fill(0xff);
  whole.set(bytes.subarray(0, length));
  return whole;
};

async function hostileBatches(): Promise<[what: string, code: string, batch: Batch][]> {
  const { zstd, nanScale } = await sealBytes();
  const manyLanes = { ...goodBatch.parts[0]!, lanes: new Uint8Array(5000).fill(255) };
  return [
    ["a byte short", "FRAME_WRONG_LENGTH", around(goodBatch.ciphertext.subarray(1))],
    ["a byte long", "FRAME_WRONG_LENGTH", around(Buffer.concat([goodBatch.ciphertext, Buffer.of(0)]))],
    ["empty", "FRAME_WRONG_LENGTH", around(new Uint8Array(0))],
    ["a megabyte", "FRAME_WRONG_LENGTH", around(new Uint8Array(1 << 20))],
    ["a residue that is q, in c0", "RESIDUE_OUT_OF_RANGE", around(withResidue("c0", params.q))],
    ["a residue that is q, in c1", "RESIDUE_OUT_OF_RANGE", around(withResidue("c1", params.q))],
    ["c1 is zero", "CIPHERTEXT_TRANSPARENT", around(withoutMask())],
    ["compressed by SEAL", "FRAME_WRONG_LENGTH", around(zstd)],
    ["compressed by SEAL, at the right length", "RESIDUE_OUT_OF_RANGE", around(fitted(zstd))],
    ["saved by SEAL, its scale NaN", "FRAME_WRONG_LENGTH", around(nanScale)],
    ["other parameters", "PARAMS_UNKNOWN", around(goodBatch.ciphertext, { paramsId: paramsId({ ...params, t: params.t * 2 }) })],
    ["another scheme", "PARAMS_UNKNOWN", around(goodBatch.ciphertext, { scheme: "identity" })],
    ["the hash of other bytes", "FRAME_WRONG_HASH", { ...goodBatch, ciphertextHash: hash("sha256", "other") }],
    ["one lane twice", "LANES_INVALID", { ...goodBatch, parts: [goodBatch.parts[0]!, goodBatch.parts[0]!] }],
    ["no parts", "LANES_INVALID", { ...goodBatch, parts: [] }],
    ["more lanes than there are", "LANES_INVALID", { ...goodBatch, parts: [manyLanes] }],
  ];
}

/** A batch's way through the model service, in this thread. @returns the code of its refusal, or "scored" */
async function fateOf(batch: Batch): Promise<string> {
  using evaluator = await openEvaluator(params);
  loaded.ciphertexts.length = 0;
  using polynomial = evaluator.prepare(new Int32Array(params.n).fill(1));
  try {
    checkBatch(batch, params);
    evaluator.multiply(batch.ciphertext, "full", [polynomial]);
    return "scored";
  } catch (error) {
    if (!isPipelineError(error)) throw error;
    return error.code;
  }
}

describe("a hostile batch", () => {
  it("becomes a dead letter, ends no worker, and costs its neighbours nothing", async () => {
    const hostile = await hostileBatches();
    await using log = await openTemporaryLog({ logger: silentLogger() });
    await log.ensureTopics(Object.values(LOG_TOPICS).map((name) => ({ name, partitions: 1 })));
    const values = [good, ...hostile.flatMap(([, , batch], i) => [batchCodec.encode(batch), batchOf(2 + i)])];
    await log.append(values.map((value) => ({ topic: LOG_TOPICS.batches, key: PLANT, value })));
    await using models = await startModelService({
      ...{ log, logger: silentLogger(), deployments: [small.served], plants: small.registry, signingKey: small.scoreSigner },
      ...{ partitions: 1, pool: { threads: 1 } },
    });
    const ended = models.done.then(() => expect.unreachable("the service ended"));
    const until = (topic: string, count: number) => Promise.race([collect(log, topic, (records) => records.length >= count), ended]);
    const scores = await until(LOG_TOPICS.scores, hostile.length + 1);
    const letters = await until(LOG_TOPICS.deadLetters, hostile.length);
    const codes = letters.map(({ value }) => deadLetterCodec.decode(value).code);
    expect(hostile.map(([what], i) => [what, codes[i]])).toEqual(hostile.map(([what, code]) => [what, code]));
    const wanted = [0, 1].map((lane) => small.score(small.window(lane)));
    const scored = scores.map(({ value }) => scoreCodec.decode(value));
    expect(scored.map(({ parts }) => parts[0]!.sequence)).toEqual(Array.from(scored, (_, i) => i + 1));
    for (const { replies } of scored) expect(small.decrypt(replies[0]!, [0, 1])).toEqual(wanted);
    expect(models.counters.batches).toBe(scored.length);
  });

  it("does not reach SEAL unless every byte of it was checked", async () => {
    for (const [what, code, batch] of await hostileBatches()) {
      if (code === "LANES_INVALID" || what === "other parameters") continue; // refused by what the batch says of itself
      expect([what, await fateOf(batch)]).toEqual([what, code]);
      // A second polynomial of zeros is found by SEAL itself, after its residues were checked.
      expect([what, loaded.ciphertexts.length]).toEqual([what, code === "CIPHERTEXT_TRANSPARENT" ? 1 : 0]);
    }
  });

  it("gives SEAL residues below q under a header of our own, whatever was changed in it", async () => {
    expect(await fateOf(goodBatch)).toBe("scored");
    const header = loaded.ciphertexts[0]!.slice(0, HEADER);
    using evaluator = await openEvaluator(params);
    using polynomial = evaluator.prepare(new Int32Array(params.n).fill(1));
    // A run of ones makes a residue that is not below q.
    const byte = fc.record({ at: fc.nat(length - 1), byte: fc.nat(255), run: fc.constant(1) });
    const ones = fc.record({ at: fc.nat(length - 1), byte: fc.constant(255), run: fc.constant(16) });
    const change = fc.oneof({ weight: 50, arbitrary: byte }, ones);
    const resize = fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.integer({ min: -length, max: 200 }));
    const fates = new Map<string, number>();
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 40 }), resize, (changes, more) => {
        const bytes = new Uint8Array(length + more);
        bytes.set(goodBatch.ciphertext.subarray(0, bytes.length));
        for (const { at, byte, run } of changes) bytes.fill(byte, at, at + run);
        loaded.ciphertexts.length = 0;
        let fate = "scored";
        try {
          evaluator.multiply(bytes, "full", [polynomial]);
        } catch (error) {
          if (!isPipelineError(error)) throw error;
          fate = error.code;
        }
        fates.set(fate, (fates.get(fate) ?? 0) + 1);
        expect(loaded.ciphertexts).toHaveLength(fate === "scored" ? 1 : 0);
        for (const given of loaded.ciphertexts) {
          expect(given.length).toBe(HEADER + 16 * params.n);
          expect(given.slice(0, HEADER)).toEqual(header);
          const words = new Uint32Array(given.slice(HEADER).buffer);
          for (let i = 0; i < 2 * params.n; i++) if (residueAt(words, i) >= params.q) throw new Error(`residue ${i} is not below q`);
        }
      }),
      { seed: 11, numRuns: 150 },
    );
    // Neither kind of change was missing.
    expect([...fates.keys()].toSorted()).toEqual(["FRAME_WRONG_LENGTH", "RESIDUE_OUT_OF_RANGE", "scored"]);
  });
});
