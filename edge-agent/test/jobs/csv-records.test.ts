import { createHash } from "node:crypto";
import { createWriteStream, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import { finished } from "node:stream/promises";
import { describe, expect, it, vi } from "vitest";
import { countRecords, readCsvRecords } from "../../src/jobs/csv-records.ts";
import { csvFile, newFolder, refusalOf } from "./job-fixture.ts";

/** Paths that this process holds open. */
function openFiles(): string[] {
  const numbers = readdirSync("/proc/self/fd");
  return numbers.flatMap((number) => {
    try {
      return [readlinkSync(`/proc/self/fd/${number}`)];
    } catch {
      return []; // the listing's own
    }
  });
}

const read = (path: string, fileHash?: string) => Array.fromAsync(readCsvRecords(path, fileHash));

describe("records of a CSV file", () => {
  it("come in order by column name, behind a byte order mark, with quotes, empty lines and Windows line ends", async () => {
    const path = csvFile('\ufeffid,site\r\n1,"north, ""old"""\r\n\r\n2,"two\r\nlines"\r\n3,\r\n');
    expect(await read(path)).toEqual([
      { id: "1", site: 'north, "old"' },
      { id: "2", site: "two\r\nlines" },
      { id: "3", site: "" },
    ]);
  });

  it("are counted, with the hash of the file's bytes", async () => {
    const path = csvFile("id,site\n1,a\n2,b\n");
    const fileHash = createHash("sha256").update(readFileSync(path)).digest("hex");
    expect(await countRecords(path)).toEqual({ records: 2, fileHash });
    expect(await read(path, fileHash)).toHaveLength(2);
    expect(await countRecords(csvFile("id,site\n"))).toMatchObject({ records: 0 });
  });

  it("are refused at their end when the file is not the one that was counted", async () => {
    expect(await refusalOf(read(csvFile("id\n1\n"), "0".repeat(64)))).toMatchObject({ code: "JOB_CHANGED" });
  });

  it.each([
    ["a line with a field too many", "id,site\n1,secret\n2,secret,secret\n", 3],
    ["a line with a field too few", "id,site\n1,secret\nsecret\n", 3],
    ["a character behind a quote", 'id,site\n1,"secret"x\n', 2],
    ["a quote within a field", 'id,site\n1,secret"\n', 2],
    ["an open quote", 'id,site\n1,"secret\n', 2],
    ["an open quote before much more", `id,site\n1,"${"secret ".repeat(200_000)}`, 2],
    ["a column without a name", "secret,\n1,2\n", 1],
    ["a name twice", "secret,secret\n1,2\n", 1],
    ["an empty file", "", 1],
  ])("are refused for %s, by line and without a value", async (_, text, line) => {
    const path = csvFile(text);
    for (const work of [read, countRecords]) {
      const error = await refusalOf(work(path));
      expect(error).toMatchObject({ code: "ROW_MALFORMED", facts: { path, line } });
      expect(error.message).toContain(`line ${line} `);
      expect(error.message).not.toContain("secret");
      expect(error.cause).toBeUndefined();
    }
  });

  it("are refused when there is no such file, or when it is a folder", async () => {
    for (const path of [join(newFolder(), "none.csv"), newFolder()]) {
      expect(await refusalOf(read(path))).toMatchObject({ code: "FILE_MISSING", facts: { path } });
    }
  });

  it("may be left before their end, which closes the file", async () => {
    const path = csvFile(`id\n${"1\n".repeat(100_000)}`);
    for await (const record of readCsvRecords(path)) {
      expect(openFiles()).toContain(path);
      expect(record).toEqual({ id: "1" });
      break;
    }
    await vi.waitFor(() => expect(openFiles()).not.toContain(path));
  });

  it("take memory that does not grow with the file", async () => {
    const path = join(newFolder(), "large.csv");
    const lines = function* () {
      yield "id,text\n";
      for (let i = 0; i < 1000; i++) yield `${i},${"x".repeat(1000)}\n`.repeat(40);
    };
    await finished(Readable.from(lines()).pipe(createWriteStream(path)));
    let most = 0;
    let records = 0;
    const before = process.memoryUsage().arrayBuffers;
    for await (const _ of readCsvRecords(path)) {
      if (++records % 1000 === 0) most = Math.max(most, process.memoryUsage().arrayBuffers - before);
    }
    expect(records).toBe(40_000);
    expect(most).toBeLessThan(20_000_000); // of 40 MB
  });
});
