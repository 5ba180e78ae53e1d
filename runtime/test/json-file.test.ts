import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writePemFile } from "@smile/identity/pem-file";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { writeJsonFile } from "../src/json-file.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "smile-json-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe.each([
  ["JSON", (path: string) => writeJsonFile(path, "secret", 0o600), '"secret"\n'],
  ["PEM", (path: string) => writePemFile(path, "secret", 0o600), "secret"],
])("a %s file with a secret", (_, write, text) => {
  it("is its owner's alone though a killed process with the same number left a draft that others may read", () => {
    const path = join(folder, "file");
    writeFileSync(`${path}.${process.pid}.tmp`, "draft", { mode: 0o644 });
    write(path);
    expect([readFileSync(path, "utf8"), statSync(path).mode & 0o777]).toEqual([text, 0o600]);
    expect(readdirSync(folder)).toEqual(["file"]);
  });

  it("is not written to where a link in the draft's place leads", () => {
    const path = join(folder, "file");
    writeFileSync(join(folder, "elsewhere"), "untouched");
    symlinkSync(join(folder, "elsewhere"), `${path}.${process.pid}.tmp`);
    write(path);
    expect(readFileSync(join(folder, "elsewhere"), "utf8")).toBe("untouched");
    expect(readFileSync(path, "utf8")).toBe(text);
  });
});
