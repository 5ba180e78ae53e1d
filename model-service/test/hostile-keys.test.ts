import { hash } from "node:crypto";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { openEvaluator } from "@smile/he/open";
import { openTemporaryLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { FixedRegistry } from "@smile/runtime/plant-registry";
import { type Batch, batchCodec, deadLetterCodec, scoreCodec } from "@smile/schemas/envelopes";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { mergeToBatch } from "@smile/stream-processor/batch";
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { fixturePlant } from "../../schemas/test/fixture-register.ts";
import { collect } from "../../test/support/collect.ts";
import { PLANT, smallDeployment } from "../../test/support/small-deployment.ts";
import { startModelService } from "../src/service.ts";

/** A plant registers what it likes as its public key, under a hash that fits it. Where SEAL's data begins: see he/src/seal-layout.ts. */
const HEADER = 113;

const small = await smallDeployment({ scheme: "bgv" });
afterAll(() => small[Symbol.dispose]());
const { params } = small;
const honest = small.keys.publicKey;

/** "taken", or the code of the refusal. */
async function openKeyFuzzer() {
  const evaluator = await openEvaluator(params);
  const fateOf = (key: Uint8Array) => {
    try {
      using zeros = evaluator.openZeros(key);
      zeros.next();
      return "taken";
    } catch (error) {
      if (!isPipelineError(error)) throw error;
      return error.code;
    }
  };
  return { evaluator, fateOf };
}

it("is refused whatever was changed in its header", async () => {
  const { evaluator, fateOf } = await openKeyFuzzer();
  using _ = evaluator;
  expect(fateOf(honest)).toBe("taken");
  const change = fc.record({ at: fc.nat(HEADER - 1), byte: fc.nat(255) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 6 }), (changes) => {
      const key = Uint8Array.from(honest);
      for (const { at, byte } of changes) key[at] = byte;
      const same = Buffer.compare(key, honest) === 0;
      expect(fateOf(key)).toBe(same ? "taken" : "KEY_MISMATCH");
    }),
    { seed: 3, numRuns: 2000 },
  );
  expect(fateOf(honest)).toBe("taken");
});

it("wears out no instance of SEAL, however often it is refused", async () => {
  const { evaluator, fateOf } = await openKeyFuzzer();
  using _ = evaluator;
  const key = Uint8Array.from(honest);
  key[49] = 3;
  // SEAL's own refusals brought it to an end after 3,757.
  for (let i = 0; i < 6000; i++) expect(fateOf(key)).toBe("KEY_MISMATCH");
  expect(fateOf(honest)).toBe("taken");
});

it("is refused when a residue is not below q, or it has another length", async () => {
  const { evaluator, fateOf } = await openKeyFuzzer();
  using _ = evaluator;
  const withResidue = (index: number, value: bigint) => {
    const key = Uint8Array.from(honest);
    new DataView(key.buffer).setBigUint64(HEADER + 8 * index, value, true);
    return key;
  };
  for (const index of [0, params.n - 1, params.n, 2 * params.n - 1]) {
    expect(fateOf(withResidue(index, params.q))).toBe("KEY_MISMATCH");
    expect(fateOf(withResidue(index, 2n ** 64n - 1n))).toBe("KEY_MISMATCH");
    expect(fateOf(withResidue(index, params.q - 1n))).toBe("taken");
  }
  for (const key of [new Uint8Array(0), honest.slice(1), Uint8Array.from([...honest, 0])]) expect(fateOf(key)).toBe("KEY_MISMATCH");
});

it("costs its own plant's batches, and nobody else's", async () => {
  const publicKey = Uint8Array.from(honest);
  publicKey[49] = 3; // Three polynomials, it says.
  const keyId = hash("sha256", publicKey);
  const key = { paramsId: small.publicKey.paramsId, keyId, publicKey };
  const evil = fixturePlant({ plant: "evil", gateways: [{ gateway: "g0" }], keys: [key] });
  using plants = new FixedRegistry([small.plant.register, evil.register]);
  await using log = await openTemporaryLog({ logger: silentLogger() });
  await log.ensureTopics(Object.values(LOG_TOPICS).map((name) => ({ name, partitions: 1 })));
  const good = mergeToBatch(params, [small.frame("g0", 1, [{ lane: 0, features: small.window(1) }])]);
  const bad = batchCodec.encode({ ...batchCodec.decode(good), plant: "evil", keyId } satisfies Batch);
  await using _ = await startModelService({
    ...{ log, logger: silentLogger(), deployments: [small.served], plants, signingKey: small.scoreSigner },
    ...{ partitions: 1, pool: { threads: 1 } },
  });
  const record = (plant: string, value: Uint8Array) => ({ topic: LOG_TOPICS.batches, key: plant, value });
  await log.append([record("evil", bad), record(PLANT, good), record("evil", bad), record(PLANT, good)]);
  const scores = await collect(log, LOG_TOPICS.scores, (records) => records.length >= 2);
  const letters = await collect(log, LOG_TOPICS.deadLetters, (records) => records.length >= 2);
  expect(letters.map(({ value }) => deadLetterCodec.decode(value).code)).toEqual(["KEY_MISMATCH", "KEY_MISMATCH"]);
  for (const { value } of scores) {
    expect(small.decrypt(scoreCodec.decode(value).replies[0]!, [0])).toEqual([small.score(small.window(1))]);
  }
});
