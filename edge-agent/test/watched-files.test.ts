import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { writeJsonFile } from "@smile/runtime/json-file";
import { silentLogger } from "@smile/runtime/logging";
import { expect, it } from "vitest";
import { WatchedFiles } from "../src/watched-files.ts";
import { newFolder } from "./fixture.ts";

function watched(take: () => void | Promise<void>) {
  const folder = newFolder();
  const [one, other] = [join(folder, "one"), join(folder, "other")];
  writeFileSync(one, "1");
  const files = new WatchedFiles([{ name: "both", paths: [one, other], take }], silentLogger());
  const lookTwice = async () => {
    await files.look();
    await files.look();
  };
  return { files, one, other, lookTwice };
}

it("takes in what was replaced, written over, made or removed, once each, when it stands still", async () => {
  let taken = 0;
  const { files, one, other, lookTwice } = watched(() => {
    taken++;
  });
  await lookTwice();
  expect(taken).toBe(0);
  const changes = [
    () => writeJsonFile(one, 2),
    () => writeFileSync(one, "written over"),
    () => writeFileSync(other, "made"),
    () => rmSync(other),
  ];
  for (const [i, change] of changes.entries()) {
    change();
    await files.look();
    expect(taken).toBe(i);
    await lookTwice();
    expect(taken).toBe(i + 1);
  }
  expect(files.reloads).toEqual({ both: { taken: changes.length, refused: 0 } });
});

it("waits while the second of two files is still to come", async () => {
  const seen: string[] = [];
  const { files, one, other } = watched(() => void seen.push("taken"));
  writeFileSync(one, "new");
  await files.look();
  writeFileSync(other, "new");
  await files.look();
  expect(seen).toEqual([]);
  await files.look();
  expect(seen).toEqual(["taken"]);
});

it("says a refused change once, and takes in the next one", async () => {
  let bad = true;
  const { files, one, lookTwice } = watched(async () => {
    if (bad) throw new Error("no");
  });
  writeFileSync(one, "bad one");
  await lookTwice();
  await lookTwice();
  expect(files.reloads.both).toEqual({ taken: 0, refused: 1 });
  bad = false;
  writeFileSync(one, "good");
  await lookTwice();
  expect(files.reloads.both).toEqual({ taken: 1, refused: 1 });
});

it("looks by itself until it is disposed of, which waits for the look under way", async () => {
  const began = Promise.withResolvers<void>();
  const end = Promise.withResolvers<void>();
  let ended = false;
  const { files, one } = watched(async () => {
    began.resolve();
    await end.promise;
    ended = true;
  });
  const looking = files.every(1);
  writeFileSync(one, "new");
  await began.promise;
  const disposed = looking[Symbol.asyncDispose]();
  end.resolve();
  await disposed;
  expect(ended).toBe(true);
});
