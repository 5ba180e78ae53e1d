import { randomFillSync } from "node:crypto";
import type { Ciphertext } from "node-seal";
import { expect, it } from "vitest";
import { CiphertextMemory } from "../src/ciphertext-memory.ts";
import type { Params } from "../src/params.ts";
import { plan } from "../src/planner.ts";
import { SealLayout } from "../src/seal-layout.ts";
import { openSeal } from "../src/seal-module.ts";

const head = { weights: [[1, -2, 3]], bias: [0] };
const { params } = plan({ featureCount: 3, featureBits: 8, heads: [head], keyMode: "public", maxMerges: 1, modelPrivacy: "compact" });

async function openBench(of: Params) {
  using opened = new DisposableStack();
  const session = opened.use(await openSeal(of));
  const { seal, context } = session;
  const layout = opened.use(new SealLayout(session));
  const residues = new Uint32Array(4 * of.n);
  randomFillSync(new Uint32Array(2 * of.n)).forEach((word, i) => {
    residues[2 * i] = word;
  });
  const [c0, c1] = [residues.subarray(0, 2 * of.n), residues.subarray(2 * of.n)];
  const load = (cipher: Ciphertext) => layout.loadFull({ c0, c1 }, true, cipher);
  const saved = (cipher: Ciphertext) => layout.splitFull(cipher.saveToArray(seal.ComprModeType.none));
  const evaluator = opened.use(new seal.Evaluator(context));
  const owned = opened.move();
  return { session, residues, load, saved, evaluator, [Symbol.dispose]: () => owned.dispose() };
}

it("shows every ciphertext as SEAL saves it: after loading, after each operation, and once the memory has grown", async () => {
  using bench = await openBench(params);
  const { session, residues, load, saved, evaluator } = bench;
  using known = new session.seal.Ciphertext();
  load(known);
  const memory = new CiphertextMemory(session, known, residues);
  expect(memory.view(known)).toEqual(saved(known));
  const before = session.memoryBytes();
  using many = new DisposableStack();
  const ciphers = [known];
  while (session.memoryBytes() === before) {
    const cipher = many.use(new session.seal.Ciphertext());
    load(cipher);
    evaluator.cipherTransformFromNttInplace(cipher);
    evaluator.negateInplace(cipher);
    ciphers.push(cipher);
  }
  expect(memory.view(known)).toEqual(saved(known));
  expect(memory.view(ciphers.at(-1)!)).toEqual(saved(ciphers.at(-1)!));
  expect(memory.view(ciphers.at(-1)!)).not.toEqual(saved(known));
});

it("writes what is written to a view", async () => {
  using bench = await openBench(params);
  const { session, residues, load, saved } = bench;
  using known = new session.seal.Ciphertext();
  load(known);
  const { c0 } = new CiphertextMemory(session, known, residues).view(known);
  c0[0] = 4711;
  expect(saved(known).c0[0]).toBe(4711);
});

it("is refused where no field has the address of the residues", async () => {
  using bench = await openBench(params);
  const { session, residues, load } = bench;
  using known = new session.seal.Ciphertext();
  load(known);
  expect(
    () =>
      new CiphertextMemory(
        session,
        known,
        residues.map((word) => word ^ 1),
      ),
  ).toThrow(/another layout/);
});
