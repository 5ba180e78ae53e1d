import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { afterAll, describe, expect, it } from "vitest";
import { passphraseFrom } from "../src/passphrase.ts";
import { codeOf } from "./code-of.ts";

const folder = mkdtempSync(join(tmpdir(), "smile-passphrase-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const write = (name: string, text: string, mode = 0o600) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
};
const ask = async () => "asked";

describe("passphrase", () => {
  it("comes from the file named, else the environment's file, else the environment, else whoever is asked", async () => {
    const file = write("own", "from file\n");
    const env = { SMILE_PASSPHRASE_FILE: write("env", "from environment's file\r\n"), SMILE_PASSPHRASE: "from environment" };
    expect(await passphraseFrom({ env, file, ask })).toBe("from file");
    expect(await passphraseFrom({ env, ask })).toBe("from environment's file");
    expect(await passphraseFrom({ env: { SMILE_PASSPHRASE: env.SMILE_PASSPHRASE }, ask })).toBe("from environment");
    expect(await passphraseFrom({ env: {}, ask })).toBe("asked");
  });

  it("keeps every space of its line, and needs no newline at its end", async () => {
    expect(await passphraseFrom({ env: {}, file: write("spaces", "  two spaces  ") })).toBe("  two spaces  ");
  });

  it("that is nowhere, or empty wherever it is, is missing", async () => {
    const empty = write("empty", "\n");
    for (const sources of [{ env: {} }, { env: { SMILE_PASSPHRASE: "" } }, { env: {}, ask: async () => "" }, { env: {}, file: empty }])
      expect(await codeOf(() => passphraseFrom(sources))).toBe("PASSPHRASE_MISSING");
    // An empty file does not let the next source speak: somebody meant it.
    expect(await codeOf(() => passphraseFrom({ env: { SMILE_PASSPHRASE: "x" }, file: empty }))).toBe("PASSPHRASE_MISSING");
    expect(await codeOf(() => passphraseFrom({ env: { SMILE_PASSPHRASE_FILE: join(folder, "nowhere") } }))).toBe("FILE_MISSING");
  });

  it("in a file that others may read, or of several lines, is refused and not quoted", async () => {
    const several = write("several", "first words\nsecond words\n");
    const sources =
      process.platform === "win32" ? [several] : [several, ...[0o640, 0o604].map((mode) => write(`open${mode}`, "first words", mode))];
    for (const file of sources) {
      const told = await passphraseFrom({ env: {}, file }).then(
        (words) => words,
        (error: Error) => inspect(error),
      );
      expect(told).toContain("CONFIG_INVALID");
      expect(told).not.toMatch(/first words|second words/);
    }
  });
});
