import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fetchKafkaJars, kafkaHome, whyNoLocalKafka } from "@smile/kafka-local/kafka-jars";
import { serverProperties } from "@smile/kafka-local/server-properties";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), "smile-kafka-home-"));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(home, { recursive: true });
});

it("says which program is missing instead of failing somewhere inside", async () => {
  vi.stubEnv("PATH", home);
  expect(await whyNoLocalKafka(home)).toBe("Java is not installed");
  await expect(fetchKafkaJars(home)).rejects.toMatchObject({ code: "TOOL_MISSING", message: expect.stringContaining("Java") });
});

it("keeps the jars where SMILE_KAFKA_HOME says, or beside the installed packages", () => {
  expect(kafkaHome({ SMILE_KAFKA_HOME: "/var/kafka" })).toBe("/var/kafka");
  expect(kafkaHome({})).toMatch(/node_modules.\.cache.smile-kafka$/);
});

it("listens on the loopback interface only", () => {
  const properties = serverProperties({ port: 9092, controllerPort: 9093, dataFolder: "/data" });
  const listeners = properties.split("\n").filter((line) => /listeners=/.test(line));
  expect(listeners).toEqual([
    "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093",
    "advertised.listeners=PLAINTEXT://127.0.0.1:9092",
  ]);
});
