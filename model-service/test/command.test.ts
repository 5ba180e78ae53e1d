import { join } from "node:path";
import { readAudit, verifyAudit } from "@smile/runtime/audit-log";
import { ALLOW_UNENCRYPTED } from "@smile/runtime/document-file";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import { writeJsonFile } from "@smile/runtime/json-file";
import { silentLogger } from "@smile/runtime/logging";
import { verifyingKey } from "@smile/schemas/ed25519";
import { deadLetterCodec, scoreCodec } from "@smile/schemas/envelopes";
import { identityHash } from "@smile/schemas/plant-register";
import { isScoreSigned } from "@smile/schemas/signing";
import { newSigningKey } from "@smile/schemas/signing-key";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { mergeToBatch } from "@smile/stream-processor/batch";
import { expect, it } from "vitest";
import { collect } from "../../test/support/collect.ts";
import { PLANT, type SmallDeployment, smallDeployment, temporaryFolder } from "../../test/support/small-deployment.ts";
import { modelServiceCommand } from "../src/command.ts";

const logger = silentLogger();
const signer = newSigningKey("model service");

/** Everything in a folder that a configuration names. */
function folderOf(small: SmallDeployment, folder: string): string {
  const { deployment, heads } = small.deployed;
  const file = (name: string, value: unknown, mode?: number) => writeJsonFile(join(folder, name), value, mode);
  file("deployment.json", deployment);
  file("head.json", heads[0]);
  file("register.json", small.plant.register);
  file("signing-key.json", signer, 0o600);
  file("config.json", {
    log: { path: "log.db", partitions: 1 },
    deployments: [{ deployment: "deployment.json", heads: ["head.json"] }],
    plants: [{ register: "register.json", identity: identityHash(small.plant.register.identity) }],
    signingKey: "signing-key.json",
    audit: "audit.db",
    threads: 1,
  });
  return join(folder, "config.json");
}

const start = (folder: string, configFile: string) =>
  modelServiceCommand.start({
    ...{ configFile, folder, logger: () => logger, env: ALLOW_UNENCRYPTED },
    ...{ signal: new AbortController().signal, values: {} },
  });

it("scores what its files say, signed by its key, and goes on under a new key once the plant's register has it", async () => {
  using small = await smallDeployment({ scheme: "bgv" });
  // The same deployment under other keys: what the plant rotates to.
  using rotated = await smallDeployment({ scheme: "bgv" });
  using folder = temporaryFolder();
  const configFile = folderOf(small, folder.path);
  await using log = await openEmbeddedLog({ path: join(folder.path, "log.db"), logger });
  await log.ensureTopics(Object.values(LOG_TOPICS).map((name) => ({ name, partitions: 1 })));
  const batchOf = ({ params, frame, window }: SmallDeployment) =>
    mergeToBatch(params, [frame("g0", 1, [{ lane: 0, features: window(1) }])]);
  const wanted = [small.score(small.window(1))];
  const append = (value: Uint8Array) => log.append([{ topic: LOG_TOPICS.batches, key: PLANT, value }]);
  const scores = async (count: number) =>
    (await collect(log, LOG_TOPICS.scores, (records) => records.length >= count)).map(({ value }) => scoreCodec.decode(value));
  {
    await using _ = await start(folder.path, configFile);
    await append(batchOf(small));
    const [score] = await scores(1);
    expect(isScoreSigned(score!, [verifyingKey(signer.publicKey)])).toBe(true);
    expect(small.decrypt(score!.replies[0]!, [0])).toEqual(wanted);

    await append(batchOf(rotated));
    const [letter] = await collect(log, LOG_TOPICS.deadLetters, (records) => records.length >= 1);
    expect(deadLetterCodec.decode(letter!.value).code).toBe("KEY_UNKNOWN");
    const [old] = small.plant.register.keys;
    const added = { ...rotated.plant.register.keys[0]!, keyEpoch: 2 };
    const retiring = { ...old!, state: "retiring" as const, untilMs: Date.now() + 3_600_000 };
    writeJsonFile(join(folder.path, "register.json"), small.plant.next({ keys: [retiring, added] }));
    // At once: nobody waits for the next look at the file.
    await append(batchOf(rotated));
    await append(batchOf(small));
    const [, second, third] = await scores(3);
    expect([second!.keyId, third!.keyId]).toEqual([rotated.keys.keyId, small.keys.keyId]);
    expect(rotated.decrypt(second!.replies[0]!, [0])).toEqual(wanted);
  }
  const path = join(folder.path, "audit.db");
  expect([...readAudit(path)].map(({ action }) => action)).toEqual([
    "register-taken",
    "deployment-loaded",
    "service-started",
    "register-taken",
  ]);
  expect(verifyAudit(path).entries).toBe(4);
});

it("does not start with a register that another identity signed, or a signing key that others may read", async () => {
  using small = await smallDeployment();
  using folder = temporaryFolder();
  const configFile = folderOf(small, folder.path);
  const foreign = { ...small.plant.register, identity: signer.publicKey };
  writeJsonFile(join(folder.path, "register.json"), foreign);
  await expect(start(folder.path, configFile)).rejects.toThrow(/SIGNATURE_INVALID/);
  writeJsonFile(join(folder.path, "register.json"), small.plant.register);
  if (process.platform === "win32") return;
  writeJsonFile(join(folder.path, "signing-key.json"), signer, 0o644);
  await expect(start(folder.path, configFile)).rejects.toThrow(/0600.*CONFIG_INVALID/);
});
