import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, it } from "vitest";
import { peoplePath, readPeopleFile, writePeopleFile } from "../src/people-file.ts";

const folder = mkdtempSync(join(tmpdir(), "people-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const path = peoplePath(join(folder, "people"), "job-1");

async function* each(pseudonyms: Iterable<bigint>) {
  yield* pseudonyms;
}
const write = (pseudonyms: readonly bigint[], records = pseudonyms.length) =>
  writePeopleFile(path, { jobId: "job-1", records }, each(pseudonyms));

it("reads back every pseudonym in its place, whatever they are", async () => {
  const people = fc.uniqueArray(fc.bigInt(0n, 2n ** 64n - 1n), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(people, async (pseudonyms) => {
      await write(pseudonyms);
      expect(readPeopleFile(path)).toEqual({ jobId: "job-1", pseudonyms: BigUint64Array.from(pseudonyms) });
    }),
    { seed: 5, numRuns: 30 },
  );
});

it("is for its owner's eyes only, and is not read when others may", async () => {
  await write([1n, 2n]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  chmodSync(path, 0o644);
  expect(() => readPeopleFile(path)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
});

it("refuses too few, too many, and a person who has two records, and leaves what was there", async () => {
  await write([7n, 8n]);
  await expect(write([1n], 2)).rejects.toMatchObject({ code: "JOB_CHANGED" });
  await expect(write([1n, 2n, 3n], 2)).rejects.toMatchObject({ code: "JOB_CHANGED" });
  await expect(write([4n, 5n, 4n])).rejects.toMatchObject({ code: "MAPPING_INVALID" });
  expect([...readPeopleFile(path).pseudonyms]).toEqual([7n, 8n]);
  expect(readdirSync(join(folder, "people"))).toEqual(["job-1.people"]);
});

it("notices any byte that changed, and a file that was cut", async () => {
  await write([1n, 2n, 3n]);
  const whole = readFileSync(path);
  for (let i = 0; i < whole.length; i++) {
    const changed = Buffer.from(whole);
    changed[i]! ^= 1;
    writeFileSync(path, changed);
    expect(() => readPeopleFile(path), `byte ${i}`).toThrow(expect.objectContaining({ code: "FILE_DAMAGED" }));
  }
  for (const length of [0, 5, 20, whole.length - 8]) {
    writeFileSync(path, whole.subarray(0, length));
    expect(() => readPeopleFile(path)).toThrow(expect.objectContaining({ code: "FILE_DAMAGED" }));
  }
  rmSync(path);
  expect(() => readPeopleFile(path)).toThrow(expect.objectContaining({ code: "FILE_MISSING" }));
});

it("takes no job's id for a way out of its folder", () => {
  for (const id of ["../job", "a/b", "", ".", "x".repeat(65)]) {
    expect(() => peoplePath(folder, id)).toThrow(expect.objectContaining({ code: "JOB_UNKNOWN" }));
  }
});
