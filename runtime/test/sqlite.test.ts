import { mkdtempSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { SqliteFile } from "../src/sqlite.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "smile-sqlite-"));
});
afterEach(() => rm(folder, { recursive: true }));

const open = (more: Partial<ConstructorParameters<typeof SqliteFile>[0]> = {}) =>
  new SqliteFile({
    path: join(folder, "file.db"),
    role: "store",
    unavailable: "STORE_UNAVAILABLE",
    tables: "CREATE TABLE numbers (n INTEGER NOT NULL UNIQUE) STRICT;",
    version: 1,
    busyMs: 0,
    ...more,
  });
const numbers = (file: SqliteFile) => file.all<{ n: number }>("SELECT n FROM numbers ORDER BY n").map(({ n }) => n);

it("makes its tables once, and keeps what is in them", () => {
  {
    using file = open();
    expect(file.run("INSERT INTO numbers VALUES (?)", 7)).toMatchObject({ changes: 1, lastId: 1 });
  }
  using again = open();
  expect(numbers(again)).toEqual([7]);
});

it("undoes all of a transaction that fails, and lets the failure through as it is", () => {
  using file = open();
  const mistake = new RangeError("a mistake of the caller");
  const failing = () =>
    file.transaction(() => {
      file.run("INSERT INTO numbers VALUES (1)");
      throw mistake;
    });
  expect(failing).toThrow(mistake);
  expect(numbers(file)).toEqual([]);
  expect(file.transaction(() => file.run("INSERT INTO numbers VALUES (1)").changes)).toBe(1);
});

it("names the file in every error: one that may pass, one that is for good, and that of a closed file", () => {
  const path = join(folder, "file.db");
  const error = (code: string) =>
    expect.objectContaining({ code, message: expect.stringContaining(`store ${path}`), facts: expect.anything() });
  const file = open();
  using other = open();
  file.transaction(() => expect(() => other.run("INSERT INTO numbers VALUES (1)")).toThrow(error("STORE_UNAVAILABLE")));
  file[Symbol.dispose]();
  expect(() => numbers(file)).toThrow(error("STORE_UNAVAILABLE"));
  other[Symbol.dispose]();
  writeFileSync(path, "this is no database, whatever its name says".repeat(100));
  expect(() => open()).toThrow(error("FILE_DAMAGED"));
});

it("refuses a file of a newer version", () => {
  open({ version: 2 })[Symbol.dispose]();
  expect(() => open()).toThrow(/newer version \(2\).*FILE_DAMAGED/);
});

it("hands out rows one by one to a reader that stops early", () => {
  using file = open();
  for (let n = 0; n < 10; n++) file.run("INSERT INTO numbers VALUES (?)", n);
  for (const { n } of file.each<{ n: number }>("SELECT n FROM numbers ORDER BY n")) if (n === 3) break;
  expect(Array.from(file.each("SELECT n FROM numbers WHERE n > ?", 7), (row) => ({ ...(row as object) }))).toEqual([{ n: 8 }, { n: 9 }]);
});

it("makes files that nobody but their owner reads, the write-ahead log too", () => {
  using file = open();
  file.run("INSERT INTO numbers (n) VALUES (1)");
  expect(readdirSync(folder)).toContain("file.db-wal");
  for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o077).toBe(0);
});

it("brings a file of an older version to its own, step by step, and makes a new one at once", () => {
  open()[Symbol.dispose]();
  const later = {
    tables: "CREATE TABLE numbers (n INTEGER NOT NULL UNIQUE, half REAL, name TEXT) STRICT;",
    version: 3,
    upgrades: ["ALTER TABLE numbers ADD COLUMN half REAL;", "ALTER TABLE numbers ADD COLUMN name TEXT;"],
  };
  const columns = (file: SqliteFile) => file.all<{ name: string }>("PRAGMA table_info(numbers)").map(({ name }) => name);
  using upgraded = open(later);
  using made = open({ ...later, path: join(folder, "new.db") });
  expect(columns(upgraded)).toEqual(["n", "half", "name"]);
  expect(columns(made)).toEqual(columns(upgraded));
});
