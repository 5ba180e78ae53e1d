import { spawn } from "node:child_process";
import { hash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { headPolynomial } from "@smile/he/lanes";
import { plan } from "@smile/he/planner";
import { type Residues, residueAt, setResidue } from "@smile/he/residues";
import { decodeReply } from "@smile/he/wire";
import { paramsToDocument } from "@smile/schemas/params-document";
import { afterAll, expect, it } from "vitest";
import { openLoop, plainScore } from "../encrypted-loop.ts";
import type { Job } from "./score-until-killed.ts";

const folder = mkdtempSync(join(tmpdir(), "smile-sanitiser-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const F = 16;
const LANES = [3];
const head = { weights: [0, 1].map((k) => Array.from({ length: F }, (_, f) => Math.round(900 * Math.sin(f + k)))), bias: [5, -5] };
const planned = plan({ featureCount: F, featureBits: 8, heads: [head], keyMode: "public", maxMerges: 1, modelPrivacy: "compact" });
const { params } = planned;
const features = Array.from({ length: F }, (_, f) => 9 * f - 60);

/** Lines of replies of a service that is killed with SIGKILL once it has written `count` of them. */
async function repliesUntilKilled(job: string, count: number): Promise<Uint8Array[][]> {
  const child = join(import.meta.dirname, "score-until-killed.ts");
  const running = spawn(process.execPath, [child, job], { stdio: ["ignore", "pipe", "inherit"] });
  const exited = once(running, "exit");
  const lines: Uint8Array[][] = [];
  for await (const line of createInterface({ input: running.stdout })) {
    const replies = line.split(" ").map((text) => new Uint8Array(Buffer.from(text, "base64")));
    // The last line may be torn by the kill.
    if (lines.length < count) lines.push(replies);
    if (lines.length === count) running.kill("SIGKILL");
  }
  expect((await exited)[1]).toBe("SIGKILL");
  return lines;
}

it("no two replies share an encryption of zero: not those of one ciphertext, of one head's outputs, or across kills of the service", async () => {
  using loop = await openLoop(planned);
  const frame = loop.frame([{ lane: LANES[0]!, features }]);
  const job: Job = {
    plan: { ...planned, params: paramsToDocument(params) },
    head,
    key: { keyId: loop.keys.keyId, publicKey: Buffer.from(loop.keys.publicKey).toString("base64") },
    ciphertext: Buffer.from(frame).toString("base64"),
    lanes: LANES,
  };
  const path = join(folder, "job.json");
  writeFileSync(path, JSON.stringify(job));
  const lives: Uint8Array[][][] = [];
  for (const count of [2, 9, 25]) lives.push(await repliesUntilKilled(path, count));

  using polynomials = new DisposableStack();
  const prepared = head.weights.map((weights) => polynomials.use(loop.evaluator.prepare(headPolynomial(weights, params.n))));
  const products = loop.evaluator.multiply(frame, "full", prepared);
  /** Whoever knows the weights sees which zero hid them: c1 of the reply less c1 of the product. */
  const zeroOf = (c1: Residues, output: number) => {
    const zero = new Uint32Array(c1.length);
    for (let i = 0; i < params.n; i++) setResidue(zero, i, residueAt(c1, i) - residueAt(products[output]!.c1, i), params.q);
    return hash("sha256", zero);
  };
  const seen = { zeros: new Set<string>(), masks: new Set<string>(), replies: 0 };
  for (const replies of lives.flat()) {
    expect(replies.map((reply) => loop.decryptor.decrypt(reply, LANES))).toEqual([0, 1].map((k) => [plainScore(head, k, features)]));
    replies.forEach((reply, output) => {
      const { c1 } = decodeReply(params, reply, LANES, F);
      seen.zeros.add(zeroOf(c1, output));
      seen.masks.add(hash("sha256", c1));
      seen.replies += 1;
    });
  }
  expect(seen.replies).toBe(2 * (2 + 9 + 25));
  expect(seen.zeros.size).toBe(seen.replies);
  expect(seen.masks.size).toBe(seen.replies);
});
