import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readKeystore } from "@smile/custody/keystore";
import { readEncryptionKey } from "@smile/edge-agent/encryption-key";
import { paramsId } from "@smile/he/params";
import { RegisteredKeys } from "@smile/model-service/registered-keys";
import { openDecryptionKeys, toSecretKeys } from "@smile/plant-console/decryption-keys";
import { type Deployment, documentId, PublicKeyDocument } from "@smile/schemas/documents";
import { paramsFromDocument } from "@smile/schemas/params-document";
import { expect, it } from "vitest";
import { smallDeployment, temporaryFolder } from "../../test/support/small-deployment.ts";
import { smile } from "../../test/support/smile-process.ts";

const mode = (path: string) => statSync(path).mode & 0o777;
const json = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));

/** Runs `smile keys` for a small deployment and returns what it wrote. */
async function keys(keyMode: Deployment["keyMode"], folder: string, gateways: readonly string[]) {
  using small = await smallDeployment({ scheme: "bgv", keyMode });
  const { deployment } = small.deployed;
  const path = join(folder, "deployment.json");
  writeFileSync(path, JSON.stringify(deployment));
  const out = join(folder, "keys");
  const args = ["keys", "--json", "--deployment", path, "--plant", "north", "--out", out];
  const ended = await smile([...args, ...(gateways.length > 0 ? ["--gateway", ...gateways] : [])]);
  const kind = { plant: "north", scheme: "bgv", keyMode, featureSetId: documentId(deployment.featureSet) } as const;
  return { deployment, out, args, ended, kind: { ...kind, paramsId: paramsId(paramsFromDocument(deployment.params)) } };
}

it("makes one key for a plant in public mode: secret for the console alone, public for gateways and the model service", async () => {
  using folder = temporaryFolder();
  const { out, ended, deployment, kind } = await keys("public", folder.path, []);
  expect(ended).toMatchObject({ code: 0, stderr: "" });
  expect(readdirSync(out).sort()).toEqual(["keystore.json", "public-key.json"]);
  expect(mode(join(out, "keystore.json"))).toBe(0o600);
  const keystore = readKeystore(join(out, "keystore.json"));
  const [{ keyId }] = keystore.keys as [(typeof keystore.keys)[number]];
  expect(JSON.parse(ended.stdout)).toEqual({
    plant: "north",
    keyIds: [keyId],
    files: [join(out, "keystore.json"), join(out, "public-key.json")],
  });
  // Each reader takes its own file.
  using opened = await openDecryptionKeys(deployment, toSecretKeys(keystore));
  expect(opened.keys.map((key) => key.keyId)).toEqual([keyId]);
  const document = PublicKeyDocument.parse(json(join(out, "public-key.json")));
  expect(new RegisteredKeys([document]).find({ ...kind, keyId }).keyId).toBe(keyId);
  expect(readEncryptionKey(join(out, "public-key.json"), { ...kind, gateway: "hall-1" }).keyId).toBe(keyId);
  // What is public holds no byte of what is secret.
  expect(readFileSync(join(out, "public-key.json"), "utf8")).not.toContain(keystore.keys[0]!.secretKey.slice(0, 40));
});

it("makes a key for each gateway in symmetric mode, readable by its owner alone", async () => {
  using folder = temporaryFolder();
  const { out, ended, kind } = await keys("symmetric", folder.path, ["hall-1", "hall-2"]);
  expect(ended).toMatchObject({ code: 0, stderr: "" });
  const secret = ["gateway-key-hall-1.json", "gateway-key-hall-2.json", "keystore.json"];
  expect(readdirSync(out).sort()).toEqual([...secret, "public-key-hall-1.json", "public-key-hall-2.json"]);
  for (const file of secret) expect(mode(join(out, file)), file).toBe(0o600);
  const keystore = readKeystore(join(out, "keystore.json"));
  expect(new Set(keystore.keys.map(({ keyId }) => keyId)).size).toBe(2);
  for (const { gateway, keyId } of keystore.keys) {
    const file = join(out, `gateway-key-${gateway}.json`);
    expect(readEncryptionKey(file, { ...kind, gateway: gateway! }).keyId).toBe(keyId);
    expect(() => readEncryptionKey(file, { ...kind, gateway: "hall-3" })).toThrow(/KEY_MISMATCH/);
  }
});

it("never replaces a keystore", async () => {
  using folder = temporaryFolder();
  const { out, args } = await keys("public", folder.path, []);
  const before = readdirSync(out).map((file) => readFileSync(join(out, file), "utf8"));
  const again = await smile(args);
  expect(again).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining(join(out, "keystore.json")) });
  expect(readdirSync(out).map((file) => readFileSync(join(out, file), "utf8"))).toEqual(before);
});

it("says which gateways it needs, which name is no name, and which file is no deployment, and leaves nothing half done", async () => {
  using folder = temporaryFolder();
  const { ended, args, out } = await keys("symmetric", folder.path, []);
  expect(ended).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining("gateways") });
  const given = args.slice(0, args.indexOf("--plant"));
  const wrong: [says: string, plant: string, gateways: string[]][] = [
    ['plant "north/2"', "north/2", ["hall-1"]],
    ['gateway "../../hall-1"', "north", ["../../hall-1"]],
    ["gateway hall-1 is named twice", "north", ["hall-1", "hall-1"]],
  ];
  await Promise.all(
    wrong.map(async ([says, plant, gateways]) => {
      const refused = await smile([...given, "--plant", plant, "--out", out, "--gateway", ...gateways]);
      expect(refused).toMatchObject({ code: 1, stdout: "", stderr: expect.stringContaining(says) });
    }),
  );
  const missing = join(folder.path, "nowhere.json");
  expect(await smile(["keys", "--deployment", missing, "--plant", "p", "--out", out])).toMatchObject({
    code: 1,
    stderr: expect.stringContaining(missing),
  });
  expect(readdirSync(folder.path)).toEqual(["deployment.json"]);
});
