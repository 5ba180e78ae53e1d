import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { EXAMPLES, plainBytes } from "./example-envelopes.ts";

/**
 * The bytes of version 1 on the wire, checked in: they must stay readable for good. UPDATE_GOLDEN=1 writes files that are missing or
 * wrong; for a schema that was ever released, add a version instead.
 */
const pathOf = (name: string) => fileURLToPath(new URL(`./golden/${name}.v1.bin`, import.meta.url));

it.each(EXAMPLES)("a $name envelope of version 1 is written as in its golden file, and read from it", ({ name, codec, value }) => {
  const bytes = codec.encode(value);
  if (process.env.UPDATE_GOLDEN === "1") writeFileSync(pathOf(name), bytes);
  const golden = readFileSync(pathOf(name));
  expect(bytes.toString("hex")).toBe(golden.toString("hex"));
  expect(plainBytes(codec.decode(golden))).toEqual(plainBytes(value));
});
