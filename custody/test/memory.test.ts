import { headPolynomial, packLanes } from "@smile/he/lanes";
import { plan } from "@smile/he/planner";
import { prepareHead, scoreBatch } from "@smile/he/scoring";
import { expect, it } from "vitest";
import { openDecryptor } from "../src/decryptor.ts";
import { openLoop, scoringHead } from "./encrypted-loop.ts";

/** The memory of a WASM instance grows and never shrinks: what leaks shows in its size, and what does not leaves it where it was. */
const F = 64;
const head = { weights: [Array.from({ length: F }, (_, f) => f - 32)], bias: [1] };
const request = { featureCount: F, featureBits: 8, heads: [head], maxMerges: 4, modelPrivacy: "compact" } as const;
const features = Int32Array.from({ length: F }, (_, f) => f - 20);

it("20,000 scoring rounds end with the WASM memory where it was after 1,000", async () => {
  const planned = plan({ ...request, keyMode: "public" });
  using loop = await openLoop(planned);
  using prepared = prepareHead(loop.evaluator, scoringHead(planned, head));
  const frame = loop.frame([{ lane: 0, features }]);
  const expected = head.weights[0]!.reduce((sum, w, f) => sum + w * features[f]!, 1);
  let settled = 0;
  for (let round = 1; round <= 20_000; round++) {
    const [reply] = scoreBatch(loop.evaluator, prepared, frame, [0], loop.zeros);
    if (round === 1_000) settled = loop.evaluator.memoryBytes();
    if (round % 1_000 === 0) expect(loop.decryptor.decrypt(reply!, [0])).toEqual([expected]);
  }
  expect(settled).toBeGreaterThan(0);
  expect(loop.evaluator.memoryBytes()).toBe(settled);
});

it.each(["public", "symmetric"] as const)(
  "2,000 frames encrypted and loaded in %s mode leave the WASM memory where it was after 200",
  async (keyMode) => {
    const planned = plan({ ...request, keyMode });
    using loop = await openLoop(planned);
    using polynomial = loop.evaluator.prepare(headPolynomial(head.weights[0]!, planned.params.n));
    const coefficients = packLanes([{ lane: 0, features }], planned.params.n, F);
    let settled: number[] = [];
    const sizes = () => [loop.encryptor.memoryBytes(), loop.evaluator.memoryBytes()];
    for (let round = 1; round <= 2_000; round++) {
      const frame = loop.encryptor.encrypt(coefficients);
      if (round % 10 === 0) loop.evaluator.multiply(frame, keyMode === "public" ? "full" : "seeded", [polynomial]);
      if (round === 200) settled = sizes();
    }
    expect(settled.every((bytes) => bytes > 0)).toBe(true);
    expect(sizes()).toEqual(settled);
  },
);

it("2,000 replies decrypted leave the WASM memory where it was after 200, refused ones among them", async () => {
  const planned = plan({ ...request, keyMode: "public" });
  using loop = await openLoop(planned);
  using decryptor = await openDecryptor(planned.params, loop.keys.secretKey, F);
  const [reply] = loop.reply(head, [loop.frame([{ lane: 0, features }])], [0]);
  let settled = 0;
  for (let round = 1; round <= 2_000; round++) {
    decryptor.decrypt(reply!, [0]);
    if (round % 20 === 0) expect(() => decryptor.decrypt(reply!.subarray(1), [0])).toThrow();
    if (round === 200) settled = decryptor.memoryBytes();
  }
  expect(settled).toBeGreaterThan(0);
  expect(decryptor.memoryBytes()).toBe(settled);
});

it("300 heads prepared and dropped, sources of zeros opened and closed, and keys refused leave the WASM memory where it was after 50", async () => {
  const planned = plan({ ...request, keyMode: "public" });
  using loop = await openLoop(planned);
  const frame = loop.frame([{ lane: 0, features }]);
  const damaged = loop.keys.publicKey.map((byte, i) => (i === 20 ? byte ^ 1 : byte));
  const clear = new Uint8Array(frame.length);
  let settled = 0;
  for (let round = 1; round <= 300; round++) {
    using prepared = prepareHead(
      loop.evaluator,
      scoringHead(planned, { ...head, weights: [head.weights[0]!, head.weights[0]!], bias: [1, 2] }),
    );
    loop.evaluator.multiply(frame, "full", prepared.polynomials);
    using zeros = loop.evaluator.openZeros(loop.keys.publicKey);
    for (let i = 0; i < 3; i++) zeros.next();
    expect(() => loop.evaluator.openZeros(damaged)).toThrow();
    expect(() => loop.evaluator.multiply(clear, "full", prepared.polynomials)).toThrow();
    if (round === 50) settled = loop.evaluator.memoryBytes();
  }
  expect(loop.evaluator.memoryBytes()).toBe(settled);
});
