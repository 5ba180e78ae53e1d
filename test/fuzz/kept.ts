import { hash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Finding } from "./fuzzer.ts";

const FOLDER = join(import.meta.dirname, "kept");

/** Writes a finding's input where every later run of the tests takes it again. Returns where that is. */
export function keep({ target, kind, input }: Finding): string {
  const folder = join(FOLDER, target);
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${kind}-${hash("sha256", input).slice(0, 12)}.bin`);
  writeFileSync(path, input);
  return path;
}

/** Every input that was ever found, by its target's name and its file's. */
export function keptCases(): { target: string; name: string; input: Uint8Array }[] {
  return readdirSync(FOLDER, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name: target }) => {
      const folder = join(FOLDER, target);
      return readdirSync(folder).map((name) => ({ target, name, input: readFileSync(join(folder, name)) }));
    });
}
