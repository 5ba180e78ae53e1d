import { hash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { fixturePlant } from "../../schemas/test/fixture-register.ts";
import { writeJsonFile } from "../src/json-file.ts";
import { withKeysInFile } from "../src/key-in-file.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "smile-keys-"));
  path = join(folder, "register.json");
});
afterEach(() => rmSync(folder, { recursive: true }));

const paramsId = "ab".repeat(32);
const keys = [1, 2, 3].map((byte) => {
  const publicKey = new Uint8Array(30_000).fill(byte);
  return { paramsId, keyId: hash("sha256", publicKey), publicKey, gateway: `g${byte}` };
});
const { register } = fixturePlant({ plant: "acme", gateways: [1, 2, 3].map((i) => ({ gateway: `g${i}` })), keys });

it("gives every key as the register has it, without holding its bytes", () => {
  writeJsonFile(path, register);
  const inFile = withKeysInFile(register, path);
  expect(inFile.keys.map(({ publicKey }) => publicKey)).toEqual(register.keys.map(({ publicKey }) => publicKey));
  expect(JSON.stringify(inFile).length).toBeLessThan(10_000);
  expect({ ...inFile, keys: [] }).toEqual({ ...register, keys: [] });
});

it("never gives bytes that are not the key's: of a file that was changed or is gone, it says so, and that trying again may help", () => {
  writeJsonFile(path, register);
  const [key] = withKeysInFile(register, path).keys;
  const refusal = expect.objectContaining({ code: "STORE_UNAVAILABLE", retriable: true });
  writeFileSync(path, JSON.stringify({ ...register, keys: register.keys.toReversed() }));
  expect(() => key!.publicKey).toThrow(refusal);
  rmSync(path);
  expect(() => key!.publicKey).toThrow(refusal);
});
