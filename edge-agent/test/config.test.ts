import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ALLOW_UNENCRYPTED } from "@smile/runtime/document-file";
import { writeJsonFile } from "@smile/runtime/json-file";
import { frameCodec } from "@smile/schemas/envelopes";
import { expect, it } from "vitest";
import { configuredAgent, readSettings } from "../src/config.ts";
import { deploymentDocument, newFolder } from "./fixture.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const example = /```jsonl\n([\s\S]*?)```/.exec(readme)?.[1] ?? "";

function written(text: string): string {
  const path = join(newFolder(), "edge.json");
  writeFileSync(path, text);
  return path;
}

it("reads the README's example, and the environment goes before it", () => {
  const settings = readSettings(written(example), { SMILE_MQTT_URL: "mqtts://broker:8883" });
  expect(settings).toMatchObject({ gateway: "hall-1", mqtt: { url: "mqtts://broker:8883", window: 16 }, source: { atEnd: "flush" } });
});

it("names every wrong key", () => {
  const wrong = { ...JSON.parse(example), plant: "a/b", sourse: {}, mqtt: { url: "http://x" } };
  for (const key of ["plant", "mqtt.url", "sourse"]) expect(() => readSettings(written(JSON.stringify(wrong)), {})).toThrow(key);
});

it("pins the plant by its register and its identity, both or neither", () => {
  const { identity: _, ...rest } = JSON.parse(example);
  expect(() => readSettings(written(JSON.stringify(rest)), {})).toThrow("identity");
});

/** What an agent is configured to with this service's document, and settings changed. */
function withService(changes: object, more: object = {}) {
  const { register: _, identity: __, ...rest } = JSON.parse(example);
  const file = written(JSON.stringify({ ...rest, service: "service.json", ...more }));
  writeJsonFile(join(dirname(file), "lease.json"), { gateway: "hall-1", firstLane: 0, machines: ["press-7"] });
  writeJsonFile(join(dirname(file), "deployment.json"), deploymentDocument("public"));
  writeJsonFile(join(dirname(file), "service.json"), {
    kind: "service",
    version: 1,
    name: "service",
    framesUrl: "mqtts://broker:8883",
    scoresUrl: "mqtts://broker:8884",
    certificateAuthority: "PEM",
    scoreSigners: [Buffer.alloc(32).toString("base64")],
    reads: { frame: frameCodec.versions, gap: [1, 7] },
    ...changes,
  });
  return configuredAgent(readSettings(file, {}), dirname(file), ALLOW_UNENCRYPTED);
}

it("writes the newest versions that the service's document names, and believes its authority", () => {
  expect(withService({})).toMatchObject({ config: { versions: { frame: frameCodec.versions.at(-1), gap: 1 } }, brokerAuthority: "PEM" });
  expect(() => withService({ reads: { frame: [77], gap: [1] } })).toThrow("[VERSION_UNSUPPORTED]");
});

it("asks for a certificate where the service's brokers will", () => {
  expect(() => withService({}, { tls: undefined })).toThrow("tls: the service's brokers ask for a certificate");
  expect(withService({ certificateAuthority: null }, { tls: undefined }).brokerAuthority).toBeNull();
});
