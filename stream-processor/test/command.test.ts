import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { readAudit } from "@smile/runtime/audit-log";
import { ALLOW_UNENCRYPTED } from "@smile/runtime/document-file";
import { openEmbeddedLog } from "@smile/runtime/embedded-log";
import { silentLogger } from "@smile/runtime/logging";
import { openMqtt } from "@smile/runtime/mqtt-client";
import { fixedTls } from "@smile/runtime/tls-files";
import { deadLetterCodec } from "@smile/schemas/envelopes";
import { identityHash, type PlantRegister } from "@smile/schemas/plant-register";
import { framesTopic, LOG_TOPICS } from "@smile/schemas/topics";
import { expect, it } from "vitest";
import { tlsPlant, tlsService } from "../../runtime/test/fixture-tls.ts";
import { collect } from "../../test/support/collect.ts";
import { freePort } from "../../test/support/free-port.ts";
import { PLANT, smallDeployment, temporaryFolder } from "../../test/support/small-deployment.ts";
import { streamProcessorCommand } from "../src/command.ts";

const logger = silentLogger();
const { signal } = new AbortController();

const start = (folder: string, settings: object) => {
  const configFile = join(folder, "stream-processor.json");
  writeFileSync(configFile, JSON.stringify({ log: { path: "log.db", partitions: 1 }, health: { port: 0 }, ...settings }));
  return streamProcessorCommand.start({ configFile, folder, env: ALLOW_UNENCRYPTED, logger: () => logger, signal, values: {} });
};

it("follows a plant's register while it runs: a gateway is revoked and comes back without a restart", async () => {
  using small = await smallDeployment();
  using folder = temporaryFolder();
  const write = (name: string, document: object) => writeFileSync(join(folder.path, name), JSON.stringify(document));
  write("deployment.json", small.deployed.deployment);
  write("register.json", small.plant.register);
  const [framesPort, scoresPort] = [await freePort(), await freePort()];
  const settings = {
    deployments: ["deployment.json"],
    plants: [{ register: "register.json", identity: identityHash(small.plant.register.identity) }],
    frames: { port: framesPort },
    scores: { port: scoresPort },
    audit: "audit.db",
  };
  const gatewaysWith = (state: "active" | "revoked"): Pick<PlantRegister, "gateways"> => ({
    gateways: small.plant.register.gateways.map((each) => ({ ...each, credentials: each.credentials.map((one) => ({ ...one, state })) })),
  });
  const frame = (sequence: number) => small.encode(small.frame("g", sequence, [{ lane: 0, features: small.window(sequence) }]));
  {
    await using service = await start(folder.path, settings);
    service.done.catch(() => {});
    await using gateway = openMqtt({ url: `mqtt://127.0.0.1:${framesPort}`, clientId: "g", logger });
    const publish = (sequence: number) => gateway.publish(framesTopic(PLANT, "g"), frame(sequence));
    await publish(0);
    const taken = join(folder.path, "register.json.taken");
    write("register.json", small.plant.next(gatewaysWith("revoked")));
    while (JSON.parse(readFileSync(taken, "utf8")).serial < 2) await delay(20);
    await publish(1);
    // Not waited for: the frame itself makes the service look.
    write("register.json", small.plant.next(gatewaysWith("active")));
    await publish(2);
  }
  await using log = await openEmbeddedLog({ path: join(folder.path, "log.db"), logger });
  const frames = await collect(log, LOG_TOPICS.frames, (records) => records.length >= 2);
  expect(frames).toHaveLength(2);
  const [letter] = await collect(log, LOG_TOPICS.deadLetters, (records) => records.length > 0);
  expect(deadLetterCodec.decode(letter!.value)).toMatchObject({ code: "SENDER_UNKNOWN", plant: PLANT, gateway: "g" });
  expect([...readAudit(join(folder.path, "audit.db"))].map(({ action }) => action)).toContain("service-started");
});

it.each([
  ["plants", {}],
  ["plants", { plants: [] }],
  ["quota.bytesPerSecond", { quota: { bytesPerSecond: 1000 } }],
  ["frames.tls.key", { frames: { tls: { certificate: "c.pem" } } }],
])("refuses a configuration whose %s is missing or wrong: %j", async (key, settings) => {
  using folder = temporaryFolder();
  const plants = [{ register: "r.json", identity: "0".repeat(64) }];
  const complete = { deployments: ["d.json"], ...(key === "plants" ? {} : { plants }), ...settings };
  await expect(start(folder.path, complete)).rejects.toThrow(new RegExp(`${key}.*CONFIG_INVALID`));
});

it("listens with the certificates that its configuration names, and says which file is missing", async () => {
  using small = await smallDeployment();
  using folder = temporaryFolder();
  const write = (name: string, text: string) => writeFileSync(join(folder.path, name), text, { mode: 0o600 });
  const north = await tlsPlant("north", ["press"]);
  const service = await tlsService();
  const { certificate, key } = await service.server();
  write("deployment.json", JSON.stringify(small.deployed.deployment));
  write("register.json", JSON.stringify(north.register));
  write("certificate.pem", certificate);
  write("key.pem", key);
  const [framesPort, scoresPort] = [await freePort(), await freePort()];
  const settings = (file: string) => ({
    deployments: ["deployment.json"],
    plants: [{ register: "register.json", identity: identityHash(north.register.identity) }],
    frames: { port: framesPort, tls: { certificate: file, key: "key.pem" } },
    scores: { port: scoresPort },
  });
  await expect(start(folder.path, settings("gone.pem"))).rejects.toThrow(/frames\.tls\.certificate.*gone\.pem.*FILE_MISSING/);
  await using running = await start(folder.path, settings("certificate.pem"));
  running.done.catch(() => {});
  const tls = fixedTls({ ...north.gateways.get("press")!, authority: service.authority.certificate });
  await using gateway = openMqtt({ url: `mqtts://127.0.0.1:${framesPort}`, clientId: "press", logger, tls });
  await gateway.ready();
});

it("does not start for a register that another identity signed", async () => {
  using small = await smallDeployment();
  using folder = temporaryFolder();
  writeFileSync(join(folder.path, "deployment.json"), JSON.stringify(small.deployed.deployment));
  writeFileSync(join(folder.path, "register.json"), JSON.stringify(small.plant.register));
  const settings = { deployments: ["deployment.json"], plants: [{ register: "register.json", identity: "0".repeat(64) }] };
  await expect(start(folder.path, settings)).rejects.toThrow(/SIGNATURE_INVALID/);
});
