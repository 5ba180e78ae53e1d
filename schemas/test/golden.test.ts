import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { EXAMPLES, plainBytes } from "./example-envelopes.ts";

/**
 * The bytes of every version on the wire, checked in: they must stay readable for good. UPDATE_GOLDEN=1 writes files that are missing or
 * wrong; for a schema that was ever released, add a version instead.
 */
const pathOf = (name: string, version: number) => fileURLToPath(new URL(`./golden/${name}.v${version}.bin`, import.meta.url));
const VERSIONS = EXAMPLES.flatMap(({ name, codec, value }) => codec.versions.map((version) => ({ name, version, codec, value })));

/** What an example is once it went through an older version. */
function readBack(value: object, name: string, version: number): object {
  if (version > 1 || !("parts" in value) || !Array.isArray(value.parts)) return value;
  expect(["batch", "score"], "only these had parts without signatures").toContain(name);
  return { ...value, parts: value.parts.map((part: object) => ({ ...part, signature: new Uint8Array(0) })) };
}

it.each(VERSIONS)("a $name of version $version is written as in its golden file, and read from it", ({ name, version, codec, value }) => {
  const bytes = codec.encode(value, version);
  if (process.env.UPDATE_GOLDEN === "1") writeFileSync(pathOf(name, version), bytes);
  const golden = readFileSync(pathOf(name, version));
  expect(bytes.toString("hex")).toBe(golden.toString("hex"));
  expect(golden[1]).toBe(version);
  expect(plainBytes(codec.decode(golden))).toEqual(plainBytes(readBack(value, name, version)));
});

it("the newest version is what is written where nothing else is asked for", () => {
  for (const { codec, value } of EXAMPLES) expect(codec.encode(value)).toEqual(codec.encode(value, Math.max(...codec.versions)));
  expect(EXAMPLES.map(({ name, codec }) => [name, codec.versions])).toEqual([
    ["frame", [1]],
    ["batch", [1, 2]],
    ["score", [1, 2]],
    ["delivery", [1]],
    ["dead-letter", [1]],
    ["gap", [1]],
  ]);
});
