import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isPipelineError } from "@smile/errors/pipeline-error";
import { openEncryptor } from "@smile/he/open";
import { paramsId } from "@smile/he/params";
import { plan } from "@smile/he/planner";
import { GatewayKeyDocument, PublicKeyDocument, parseDocument } from "@smile/schemas/documents";
import { afterAll, describe, expect, it } from "vitest";
import { openDecryptor } from "../src/decryptor.ts";
import { keyIdOf } from "../src/keys.ts";
import { createKeystore, gatewayKeys, publicKeys, readKeystore, writeKeystore } from "../src/keystore.ts";

const folder = mkdtempSync(join(tmpdir(), "smile-keystore-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const request = { featureCount: 64, featureBits: 8, heads: [{ weights: [Array.from({ length: 64 }, () => 100)], bias: [0] }] };
const { params } = plan({ ...request, keyMode: "symmetric", maxMerges: 1, modelPrivacy: "compact" });
const codeOf = (work: () => unknown) => {
  try {
    work();
  } catch (error) {
    if (isPipelineError(error)) return error.code;
    throw error;
  }
  return "accepted";
};

describe("keystore", () => {
  it("in public mode holds one key pair for the plant, and hands out its public half only", async () => {
    const keystore = await createKeystore("plant-1", params, "public", []);
    expect(keystore.keys.map(({ gateway }) => gateway)).toEqual([null]);
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
    const keystore = await createKeystore("plant-1", params, "symmetric", ["a", "b"]);
    expect(keystore.keys.map(({ gateway }) => gateway)).toEqual(["a", "b"]);
    expect(new Set(keystore.keys.map(({ secretKey }) => secretKey)).size).toBe(2);
    const keys = gatewayKeys(keystore);
    for (const key of keys) expect(parseDocument(GatewayKeyDocument, key, "gateway key")).toEqual(key);
    expect(keys.map(({ gateway, secretKey }) => [gateway, secretKey])).toEqual(
      keystore.keys.map(({ gateway, secretKey }) => [gateway, secretKey]),
    );
    expect(JSON.stringify(publicKeys(keystore))).not.toContain(keystore.keys[1]!.secretKey);
    await expect(createKeystore("plant-1", params, "symmetric", [])).rejects.toThrow(/CONFIG_INVALID/);
  });

  it("comes back from its file, whose keys work, and whose mode lets only its owner read it", async () => {
    const path = join(folder, "keys.json");
    const keystore = await createKeystore("plant-1", params, "public", []);
    writeKeystore(path, keystore);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const read = readKeystore(path);
    expect(read).toEqual(keystore);
    const [key] = read.keys;
    using _encryptor = await openEncryptor(params, { mode: "public", bytes: Buffer.from(key!.publicKey, "base64") });
    using decryptor = await openDecryptor(params, Buffer.from(key!.secretKey, "base64"), 64);
    expect(decryptor.memoryBytes()).toBeGreaterThan(0);
  });

  it("is never replaced", async () => {
    const path = join(folder, "once.json");
    writeKeystore(path, await createKeystore("plant-1", params, "public", []));
    const before = readFileSync(path, "utf8");
    const other = await createKeystore("plant-1", params, "public", []);
    expect(codeOf(() => writeKeystore(path, other))).toBe("CONFIG_INVALID");
    expect(readFileSync(path, "utf8")).toBe(before);
  });

  it.skipIf(process.platform === "win32")("is refused when others may read it", async () => {
    const path = join(folder, "open.json");
    writeKeystore(path, await createKeystore("plant-1", params, "public", []));
    for (const mode of [0o640, 0o604, 0o644]) {
      chmodSync(path, mode);
      expect(codeOf(() => readKeystore(path))).toBe("CONFIG_INVALID");
    }
    chmodSync(path, 0o600);
    expect(codeOf(() => readKeystore(path))).toBe("accepted");
  });

  it("that is missing, cut off or has another shape is refused, without a word of its keys", async () => {
    const keystore = await createKeystore("plant-1", params, "public", []);
    const text = JSON.stringify(keystore);
    const write = (name: string, content: string) => {
      const path = join(folder, name);
      writeFileSync(path, content, { mode: 0o600 });
      return path;
    };
    expect(codeOf(() => readKeystore(join(folder, "nowhere.json")))).toBe("FILE_MISSING");
    expect(codeOf(() => readKeystore(write("cut.json", text.slice(0, -9))))).toBe("FILE_DAMAGED");
    const wrong = write("wrong.json", JSON.stringify({ ...keystore, keys: [{ ...keystore.keys[0], keyId: "short" }] }));
    expect(codeOf(() => readKeystore(wrong))).toBe("DOCUMENT_INVALID");
    for (const path of [join(folder, "cut.json"), wrong]) {
      let message = "";
      try {
        readKeystore(path);
      } catch (error) {
        message = `${error} ${JSON.stringify(error)} ${(error as Error).cause}`;
      }
      expect(message).toContain(path);
      expect(message).not.toContain(keystore.keys[0]!.secretKey.slice(0, 24));
    }
  });
});
