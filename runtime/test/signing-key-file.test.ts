import { chmodSync, mkdtempSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isSignedBy, signBytes, verifyingKey } from "@smile/schemas/ed25519";
import { newSigningKey } from "@smile/schemas/signing-key";
import { afterEach, beforeEach, expect, it } from "vitest";
import { writeJsonFile } from "../src/json-file.ts";
import { readSigningKey } from "../src/signing-key-file.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "smile-signing-key-"));
  path = join(folder, "signing-key.json");
});
afterEach(() => rm(folder, { recursive: true }));

const document = newSigningKey("acme/g1");
const statement = Buffer.from("statement");

it("reads a key that signs for the public key beside it", () => {
  writeJsonFile(path, document, 0o600);
  const { owner, publicKey, key } = readSigningKey(path);
  expect([owner, publicKey]).toEqual(["acme/g1", document.publicKey]);
  expect(isSignedBy(statement, signBytes(statement, key), [verifyingKey(publicKey)])).toBe(true);
});

it.skipIf(process.platform === "win32")("refuses a key that others may read", () => {
  writeJsonFile(path, document, 0o600);
  for (const mode of [0o640, 0o604, 0o660]) {
    chmodSync(path, mode);
    expect(() => readSigningKey(path)).toThrow(/0600.*CONFIG_INVALID/);
  }
});

it("refuses what is no such key, and quotes none of it", () => {
  const another = newSigningKey("other");
  const wrong: [content: unknown, code: string][] = [
    [{ ...document, publicKey: another.publicKey }, "DOCUMENT_INVALID"],
    [{ ...document, secretKey: document.secretKey.slice(0, 32) }, "DOCUMENT_INVALID"],
    [{ ...document, kind: "key" }, "DOCUMENT_INVALID"],
  ];
  for (const [content, code] of wrong) {
    writeJsonFile(path, content, 0o600);
    const quoting = expect.objectContaining({ message: expect.stringContaining(document.secretKey.slice(0, 20)) });
    expect(() => readSigningKey(path)).toThrow(expect.objectContaining({ code }));
    expect(() => readSigningKey(path)).not.toThrow(quoting);
  }
  writeFileSync(path, document.secretKey, { mode: 0o600 });
  expect(() => readSigningKey(path)).toThrow(/FILE_DAMAGED/);
  expect(() => readSigningKey(join(folder, "none"))).toThrow(/FILE_MISSING/);
});
