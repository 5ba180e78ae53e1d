import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { packLanes } from "@smile/he/lanes";
import { openEncryptor, openEvaluator } from "@smile/he/open";
import { plan } from "@smile/he/planner";
import { prepareHead, scoreBatch } from "@smile/he/scoring";
import { afterAll, expect, it } from "vitest";
import { z } from "zod";
import { openDecryptor } from "../../src/decryptor.ts";
import { activateEpoch, addEpoch, createKeystore, destroyExpired, readKeystore, writeKeystore } from "../../src/keystore.ts";
import { readSealed } from "../../src/sealed-file.ts";
import { plainScore, scoringHead } from "../encrypted-loop.ts";

const folder = mkdtempSync(join(tmpdir(), "smile-destroyed-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const F = 16;
const head = { weights: [Array.from({ length: F }, (_, f) => 100 - 13 * f)], bias: [7] };
const planned = plan({ featureCount: F, featureBits: 8, heads: [head], keyMode: "public", maxMerges: 1, modelPrivacy: "compact" });
const { params } = planned;
const lanes = Array.from({ length: 20 }, (_, lane) => lane);
const features = (lane: number) => Array.from({ length: F }, (_, f) => ((lane * 31 + f * 17) % 255) - 127);
const expected = lanes.map((lane) => plainScore(head, 0, features(lane)));

/** Every text in a document, however deep. */
function textsIn(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return typeof value === "object" && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

/** Opens a reply with every text of a document as the secret key. */
async function openWithAnything(reply: Uint8Array, document: unknown): Promise<{ keys: number; opened: boolean }> {
  let keys = 0;
  let opened = false;
  for (const text of textsIn(document)) {
    try {
      using decryptor = await openDecryptor(params, new Uint8Array(Buffer.from(text, "base64")), F);
      keys += 1;
      // Of twenty random scores three fit by chance with probability below 1140 / t^3.
      opened ||= decryptor.decrypt(reply, lanes).filter((score, i) => score === expected[i]).length > 2;
    } catch (error) {
      if (!isPipelineError(error, "KEY_MISMATCH")) throw error;
    }
  }
  return { keys, opened };
}

it("a score under a destroyed key cannot be opened with anything that is left in the plant's keystore", async () => {
  const path = join(folder, "keystore.json");
  const [passphrase, options] = ["nine winter geese", { cost: 2 ** 10, replace: true }];
  const first = await createKeystore("plant-1", params, "public", [], 1000);
  const publicKey = new Uint8Array(Buffer.from(first.keys[0]!.publicKey, "base64"));
  using encryptor = await openEncryptor(params, { mode: "public", bytes: publicKey });
  using evaluator = await openEvaluator(params);
  using zeros = evaluator.openZeros(publicKey);
  using prepared = prepareHead(evaluator, scoringHead(planned, head));
  const coefficients = packLanes(
    lanes.map((lane) => ({ lane, features: features(lane) })),
    params.n,
    F,
  );
  const frame = encryptor.encrypt(coefficients);
  const [reply] = scoreBatch(evaluator, prepared, frame, lanes, zeros);
  const inFile = () => readSealed(path, "keystore", z.unknown(), passphrase);

  const rotated = activateEpoch(await addEpoch(first, params, "public", [], 2000), { retainMs: 500, nowMs: 2000 });
  await writeKeystore(path, rotated, passphrase, options);
  expect(await openWithAnything(reply!, await inFile()), "while it is retained, its scores open").toEqual({ keys: 2, opened: true });

  const { keystore, destroyed } = destroyExpired(await readKeystore(path, passphrase), 2500);
  expect(destroyed.map(({ keyId }) => keyId)).toEqual([first.keys[0]!.keyId]);
  await writeKeystore(path, keystore, passphrase, options);
  expect(await openWithAnything(reply!, await inFile())).toEqual({ keys: 1, opened: false });
  expect(readdirSync(folder), "nor is a draft or a copy of the old file left").toEqual(["keystore.json"]);
});
