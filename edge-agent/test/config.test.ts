import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readSettings } from "../src/config.ts";
import { newFolder } from "./fixture.ts";

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
