import {
  closeSync,
  copyFileSync,
  existsSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { type DamagedStore, openEdgeStore } from "../src/open-store.ts";
import { EdgeStore } from "../src/store.ts";
import { aFrame, aWindow, envelopesOf, newFolder, randomFrom, takeAll } from "./fixture.ts";

const owner = { plant: "plant", gateway: "gateway-1", featureSetId: "aa" };
const nothing = { frames: [], states: [], opened: [], closed: [] };
const COMMITS = 12;

/** The files of a store as they are while it is at work, with the size of its journal behind each commit of two frames. */
function atWork(): { folder: string; epoch: number; journal: number[] } {
  const folder = newFolder();
  const path = join(folder, "edge.db");
  using store = new EdgeStore(path, owner);
  const journal: number[] = [];
  for (let i = 0; i < COMMITS; i++) {
    const frames = [aFrame(store.nextSequence, 3000), aFrame(store.nextSequence + 1, 5000)];
    store.commit({
      ...nothing,
      frames,
      states: [{ machine: "a", snapshot: `${i}`, lastRowMs: i, arrivedMs: i }],
      opened: [aWindow("a", i)],
    });
    journal.push(statSync(`${path}-wal`).size);
  }
  for (const suffix of ["", "-wal"]) copyFileSync(path + suffix, join(folder, `taken${suffix}`));
  return { folder, epoch: store.epoch, journal };
}

function copyOf(folder: string, name: string): string {
  for (const suffix of ["", "-wal"]) copyFileSync(join(folder, `taken${suffix}`), join(folder, name + suffix));
  return join(folder, name);
}

function overwrite(path: string, at: number, bytes: Uint8Array): void {
  const file = openSync(path, "r+");
  writeSync(file, bytes, 0, bytes.length, at);
  closeSync(file);
}

/** What a store must hold after so many commits, and that it gives no number twice, of the `COMMITS` that another life had used. */
function expectCommits(path: string, epoch: number, commits: number): void {
  using store = new EdgeStore(path, owner);
  const used = 2 * COMMITS;
  expect(store.epoch).toBe(epoch);
  expect(store.nextSequence).toBeGreaterThanOrEqual(used);
  expect(store.states().map(({ snapshot }) => snapshot)).toEqual(commits === 0 ? [] : [`${commits - 1}`]);
  expect(store.openWindows()).toHaveLength(commits);
  store.commit({ ...nothing, frames: [aFrame(store.nextSequence)] });
  const frames = takeAll(store);
  const range = Array.from({ length: 2 * commits }, (_, i) => i);
  expect(frames.slice(0, -1).map(({ sequence }) => sequence)).toEqual(range);
  expect(envelopesOf(frames.slice(0, -1)).map(([first]) => first)).toEqual(range);
  expect(frames.at(-1)!.sequence).toBeGreaterThanOrEqual(used);
}

it("opens with everything up to the last commit that is whole when the journal's end is cut off, wherever", () => {
  const { folder, epoch, journal } = atWork();
  const random = randomFrom(3);
  for (const [i, end] of [0, ...journal].entries()) {
    const next = journal[i] ?? end;
    for (const size of new Set([end, end + Math.floor(random() * (next - end))])) {
      const path = copyOf(folder, `cut-${size}`);
      truncateSync(`${path}-wal`, size);
      expectCommits(path, epoch, i);
    }
  }
});

it("opens with everything up to the last commit that is whole when the journal's end is rubbish", () => {
  const { folder, epoch, journal } = atWork();
  for (const [i, end] of journal.entries()) {
    const path = copyOf(folder, `rubbish-${i}`);
    const size = journal.at(-1)!;
    if (end < size) overwrite(`${path}-wal`, end + 40, new Uint8Array(size - end - 40).fill(0x5a));
    expectCommits(path, epoch, i + 1);
  }
});

it("puts a damaged store aside, says so, and goes on with a new epoch", () => {
  const { folder, epoch } = atWork();
  const pages = statSync(copyOf(folder, "sound")).size / 4096;
  new EdgeStore(join(folder, "sound"), owner)[Symbol.dispose](); // its journal is in the main file now
  const sound = readFileSync(join(folder, "sound"));
  expect(sound.length / 4096).toBeGreaterThan(pages);
  const damages: [string, (path: string) => void][] = [
    ["header", (path) => overwrite(path, 0, new Uint8Array(100).fill(7))],
    ["page", (path) => overwrite(path, 4096 * (sound.length / 4096 - 8), new Uint8Array(8 * 4096).fill(0xa5))],
    ["root", (path) => overwrite(path, 4096, new Uint8Array(4096).fill(0xff))],
    ["cut", (path) => truncateSync(path, sound.length - 5 * 4096)],
  ];
  for (const [name, damage] of damages) {
    const path = join(folder, `${name}.db`);
    writeFileSync(path, sound);
    damage(path);
    const bytes = readFileSync(path);
    const told: DamagedStore[] = [];
    using store = openEdgeStore(path, owner, { onDamaged: (damaged) => told.push(damaged) });
    expect(told, name).toMatchObject([{ error: { code: "FILE_DAMAGED" } }]);
    expect(readFileSync(told[0]!.keptAs).equals(bytes), `${name} is kept as it was`).toBe(true);
    expect(store.epoch).not.toBe(epoch);
    expect([store.nextSequence, store.depth.frames]).toEqual([0, 0]);
  }
});

it("puts nothing aside but damage: not another gateway's store, nor a newer version's", () => {
  const { folder } = atWork();
  const onDamaged = () => expect.unreachable();
  const path = copyOf(folder, "theirs");
  expect(() => openEdgeStore(path, { ...owner, gateway: "gateway-2" }, { onDamaged })).toThrow(/CONFIG_INVALID/);
  overwrite(path, 60, Uint8Array.of(0, 0, 0, 99)); // user_version
  expect(existsSync(`${path}-wal`)).toBe(false);
  expect(() => openEdgeStore(path, owner, { onDamaged })).toThrow(/newer version/);
  expect(readdirSync(folder).filter((name) => name.includes("damaged"))).toEqual([]);
});
