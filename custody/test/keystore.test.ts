import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openEncryptor } from "@smile/he/open";
import { paramsId } from "@smile/he/params";
import { plan } from "@smile/he/planner";
import { GatewayKeyDocument, PublicKeyDocument, parseDocument } from "@smile/schemas/documents";
import { afterAll, describe, expect, it } from "vitest";
import { openDecryptor } from "../src/decryptor.ts";
import { keyIdOf } from "../src/keys.ts";
import {
  activateEpoch,
  addEpoch,
  createKeystore,
  destroyExpired,
  gatewayKeys,
  type Keystore,
  publicKeys,
  readKeystore,
  writeKeystore,
} from "../src/keystore.ts";
import { codeOf } from "./code-of.ts";

const folder = mkdtempSync(join(tmpdir(), "smile-keystore-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const request = { featureCount: 64, featureBits: 8, heads: [{ weights: [Array.from({ length: 64 }, () => 100)], bias: [0] }] };
const { params } = plan({ ...request, keyMode: "symmetric", maxMerges: 1, modelPrivacy: "compact" });
const cost = 2 ** 10;
const passphrase = "nine winter geese";
const nowMs = 1_790_000_000_000;
const publicStore = () => createKeystore("plant-1", params, "public", [], nowMs);

describe("keystore", () => {
  it("in public mode holds one key pair for the plant, and hands out its public half only", async () => {
    const keystore = await publicStore();
    expect(keystore.keys).toMatchObject([{ gateway: null, keyEpoch: 1, state: "active", untilMs: null, createdAtMs: nowMs }]);
    const [shared] = publicKeys(keystore);
    expect(parseDocument(PublicKeyDocument, shared, "public key")).toEqual(shared);
    expect(shared).toMatchObject({
      plant: "plant-1",
      gateway: null,
      paramsId: paramsId(params),
      keyId: keyIdOf(Buffer.from(shared!.publicKey, "base64")),
    });
    expect(JSON.stringify(publicKeys(keystore))).not.toContain(keystore.keys[0]!.secretKey);
    expect(gatewayKeys(keystore)).toEqual([]);
  });

  it("in symmetric mode holds a pair of its own for each gateway", async () => {
    const keystore = await createKeystore("plant-1", params, "symmetric", ["a", "b"], nowMs);
    expect(keystore.keys.map(({ gateway }) => gateway)).toEqual(["a", "b"]);
    expect(new Set(keystore.keys.map(({ secretKey }) => secretKey)).size).toBe(2);
    const keys = gatewayKeys(keystore);
    for (const key of keys) expect(parseDocument(GatewayKeyDocument, key, "gateway key")).toEqual(key);
    expect(keys.map(({ gateway, secretKey }) => [gateway, secretKey])).toEqual(
      keystore.keys.map(({ gateway, secretKey }) => [gateway, secretKey]),
    );
    expect(JSON.stringify(publicKeys(keystore))).not.toContain(keystore.keys[1]!.secretKey);
    for (const gateways of [[], ["a", "a"], ["a", "no/name"]])
      expect(await codeOf(() => createKeystore("plant-1", params, "symmetric", gateways, nowMs))).toBe("CONFIG_INVALID");
  });

  it("hands out the active keys, or those of the epochs that are named", async () => {
    const keystore = await addEpoch(await publicStore(), params, "public", [], nowMs);
    const [first, second] = keystore.keys.map(({ keyId }) => keyId);
    const idsOf = (epochs?: number[]) => publicKeys(keystore, epochs).map(({ keyId }) => keyId);
    expect([idsOf(), idsOf([2]), idsOf([1, 2]), idsOf([3])]).toEqual([[first], [second], [first, second], []]);
  });
});

describe("keystore file", () => {
  it("gives the keystore back, whose keys work; only its owner may read it, and it shows no key", async () => {
    const path = join(folder, "keys.json");
    const keystore = await publicStore();
    await writeKeystore(path, keystore, passphrase, { cost });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const read = await readKeystore(path, passphrase);
    expect(read).toEqual(keystore);
    const [key] = read.keys;
    const text = readFileSync(path, "utf8");
    for (const hidden of [key!.secretKey.slice(200, 240), key!.publicKey.slice(200, 240), key!.keyId]) expect(text).not.toContain(hidden);
    using _encryptor = await openEncryptor(params, { mode: "public", bytes: Buffer.from(key!.publicKey, "base64") });
    using decryptor = await openDecryptor(params, Buffer.from(key!.secretKey, "base64"), 64);
    expect(decryptor.memoryBytes()).toBeGreaterThan(0);
    expect(await codeOf(() => readKeystore(path, "ten winter geese"))).toBe("PASSPHRASE_WRONG");
  });

  it("that was written by version 2 first is still read", async () => {
    const path = join(folder, "golden.json");
    writeFileSync(path, readFileSync(join(import.meta.dirname, "golden/keystore.v2.json")), { mode: 0o600 });
    const read = await readKeystore(path, passphrase);
    expect(read.keys.map(({ keyEpoch, state }) => [keyEpoch, state])).toEqual([
      [2, "retiring"],
      [3, "active"],
      [4, "next"],
    ]);
    expect(read.destroyed.map(({ keyEpoch, destroyedAtMs }) => [keyEpoch, destroyedAtMs])).toEqual([[1, nowMs + 50]]);
  });

  it("in plain JSON, as before version 2, is refused with the way to a new one", async () => {
    const path = join(folder, "plain.json");
    writeFileSync(path, JSON.stringify({ kind: "keystore", version: 1, plant: "plant-1", keys: [] }), { mode: 0o600 });
    await expect(readKeystore(path, passphrase)).rejects.toThrow(/plain\.json: .*smile plant init.*DOCUMENT_INVALID/);
  });

  it("is not replaced unless told so", async () => {
    const path = join(folder, "once.json");
    await writeKeystore(path, await publicStore(), passphrase, { cost });
    const before = readFileSync(path, "utf8");
    const other = await publicStore();
    expect(await codeOf(() => writeKeystore(path, other, passphrase, { cost }))).toBe("CONFIG_INVALID");
    expect(readFileSync(path, "utf8")).toBe(before);
  });

  it("written by two at the same time keeps what one of them wrote, and the other is told to try again", async () => {
    const path = join(folder, "raced.json");
    const first = await publicStore();
    await writeKeystore(path, first, passphrase, { cost });
    const rotated = await addEpoch(first, params, "public", [], 2000);
    const results = await Promise.allSettled([rotated, first].map((one) => writeKeystore(path, one, passphrase, { cost, replace: true })));
    const lost = results.filter(({ status }) => status === "rejected");
    expect(lost.map((result) => (result as PromiseRejectedResult).reason.code)).toEqual(["STORE_UNAVAILABLE"]);
    const kept = await readKeystore(path, passphrase);
    expect(kept).toEqual(results[0]!.status === "fulfilled" ? rotated : first);
  });

  it("is replaced by no keystore that lost a key, revived one or is another plant's, nor under another passphrase", async () => {
    const path = join(folder, "succession.json");
    const first = await publicStore();
    const second = activateEpoch(await addEpoch(first, params, "public", [], nowMs), { retainMs: 5, nowMs });
    const third = destroyExpired(second, nowMs + 5).keystore;
    const replace = (keystore: Keystore, words = passphrase) => codeOf(() => writeKeystore(path, keystore, words, { cost, replace: true }));
    expect(await replace(first)).toBe("accepted");
    // Another key under the same epoch's name is not that key.
    expect(await replace(await publicStore())).toBe("CONFIG_INVALID");
    expect(await replace(second)).toBe("accepted");
    // Two who read the same file: the one who writes last would drop what the other added.
    expect(await replace(first)).toBe("CONFIG_INVALID");
    expect(await replace({ ...second, plant: "plant-2" })).toBe("CONFIG_INVALID");
    expect(await replace(third, "ten winter geese")).toBe("PASSPHRASE_WRONG");
    expect(await readKeystore(path, passphrase)).toEqual(second);
    expect(await replace(third)).toBe("accepted");
    expect(await replace(second)).toBe("CONFIG_INVALID");
    expect(await replace({ ...third, destroyed: [] })).toBe("CONFIG_INVALID");
    expect(await readKeystore(path, passphrase)).toEqual(third);
  });

  it("is not written when it could not be read again", async () => {
    const path = join(folder, "broken.json");
    const keystore = await publicStore();
    const [key] = keystore.keys;
    const broken: Partial<Keystore>[] = [
      { keys: [key!, { ...key!, keyEpoch: 2 }] },
      { keys: [key!, key!] },
      { keys: [{ ...key!, untilMs: nowMs }] },
      { keys: [{ ...key!, state: "retiring" }] },
      { destroyed: [{ keyEpoch: 1, gateway: null, paramsId: key!.paramsId, keyId: key!.keyId, destroyedAtMs: nowMs }] },
    ];
    for (const change of broken)
      expect(await codeOf(() => writeKeystore(path, { ...keystore, ...change }, passphrase, { cost }))).toBe("DOCUMENT_INVALID");
    expect(await codeOf(() => readKeystore(path, passphrase))).toBe("FILE_MISSING");
  });

  it("of a destroyed key keeps the name and not one byte of the secret", async () => {
    const path = join(folder, "destroyed.json");
    const before = activateEpoch(await addEpoch(await publicStore(), params, "public", [], nowMs), { retainMs: 5, nowMs });
    await writeKeystore(path, before, passphrase, { cost });
    const { keystore, destroyed } = destroyExpired(before, nowMs + 5);
    await writeKeystore(path, keystore, passphrase, { cost, replace: true });
    const [gone, kept] = before.keys;
    expect(destroyed).toMatchObject([{ keyEpoch: 1, keyId: gone!.keyId, destroyedAtMs: nowMs + 5 }]);
    const inside = JSON.stringify(await readKeystore(path, passphrase));
    expect(inside).toContain(kept!.secretKey);
    expect(inside).toContain(gone!.keyId);
    // The first bytes are a header that all keys of these parameters share.
    for (let at = 400; at < gone!.secretKey.length - 32; at += 32) expect(inside).not.toContain(gone!.secretKey.slice(at, at + 32));
  });
});
