import { hash } from "node:crypto";
import { zstdCompressSync } from "node:zlib";
import { paramsId } from "@smile/he/params";
import { decodeFull, encodeFull, frameLength } from "@smile/he/wire";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { type Batch, batchCodec, deadLetterCodec, scoreCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { mergeToBatch } from "@smile/stream-processor/batch";
import { afterAll, expect, it } from "vitest";
import { collect } from "../../test/support/collect.ts";
import { PLANT, smallDeployment } from "../../test/support/small-deployment.ts";
import { startModelService } from "../src/service.ts";

/** In a ciphertext that SEAL saved; see he/src/seal-layout.ts. */
const COMPRESSION_MODE = 5;
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

/**
 * As SEAL saves a ciphertext, which is how it saves a public key: a header of 16 bytes, and the rest, compressed or not. Here a rest that
 * is 32 MB when it is decompressed, and a scale that is NaN.
 */
function sealBytes(): { bomb: Uint8Array; nanScale: Uint8Array } {
  const saved = small.keys.publicKey;
  const nanScale = Uint8Array.from(saved);
  new DataView(nanScale.buffer).setFloat64(SCALE, Number.NaN, true);
  const bomb = Buffer.concat([saved.subarray(0, 16), zstdCompressSync(new Uint8Array(32 * 1024 * 1024))]);
  bomb[COMPRESSION_MODE] = 2;
  bomb.writeBigUInt64LE(BigInt(bomb.length), 8);
  return { bomb, nanScale };
}

function withResidue(which: "c0" | "c1", value: bigint): Uint8Array {
  const residues = decodeFull(params, goodBatch.ciphertext);
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

function hostileBatches(): [what: string, code: string, batch: Batch][] {
  const { bomb, nanScale } = sealBytes();
  const manyLanes = { ...goodBatch.parts[0]!, ciphertextHash: goodBatch.ciphertextHash, lanes: new Uint8Array(5000).fill(255) };
  return [
    ["a byte short", "FRAME_WRONG_LENGTH", around(goodBatch.ciphertext.subarray(1))],
    ["a byte long", "FRAME_WRONG_LENGTH", around(Buffer.concat([goodBatch.ciphertext, Buffer.of(0)]))],
    ["empty", "FRAME_WRONG_LENGTH", around(new Uint8Array(0))],
    ["a megabyte", "FRAME_WRONG_LENGTH", around(new Uint8Array(1 << 20))],
    ["a residue that is q, in c0", "RESIDUE_OUT_OF_RANGE", around(withResidue("c0", params.q))],
    ["a residue that is q, in c1", "RESIDUE_OUT_OF_RANGE", around(withResidue("c1", params.q))],
    ["c1 is zero", "CIPHERTEXT_TRANSPARENT", around(withoutMask())],
    ["compressed", "FRAME_WRONG_LENGTH", around(bomb)],
    ["compressed, at the right length", "RESIDUE_OUT_OF_RANGE", around(fitted(bomb))],
    ["as SEAL saves it, its scale NaN", "FRAME_WRONG_LENGTH", around(nanScale)],
    ["other parameters", "PARAMS_UNKNOWN", around(goodBatch.ciphertext, { paramsId: paramsId({ ...params, t: params.t * 2 }) })],
    ["another scheme", "PARAMS_UNKNOWN", around(goodBatch.ciphertext, { scheme: "identity" })],
    ["the hash of other bytes", "FRAME_WRONG_HASH", { ...goodBatch, ciphertextHash: hash("sha256", "other") }],
    ["one part, of another ciphertext", "FRAME_WRONG_HASH", { ...goodBatch, parts: [goodBatch.parts[0]!] }],
    ["one lane twice", "LANES_INVALID", { ...goodBatch, parts: [goodBatch.parts[0]!, goodBatch.parts[0]!] }],
    ["no parts", "LANES_INVALID", { ...goodBatch, parts: [] }],
    [
      "more parts than can be merged",
      "FRAME_WRONG_LENGTH",
      { ...goodBatch, parts: Array.from({ length: 4096 }, () => goodBatch.parts[0]!) },
    ],
    ["more lanes than there are", "LANES_INVALID", { ...goodBatch, parts: [manyLanes] }],
  ];
}

it("a hostile batch becomes a dead letter, ends no worker, and costs its neighbours nothing", async () => {
  const hostile = hostileBatches();
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
