import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { EdgeStore, newEpoch } from "../src/store.ts";
import { aFrame, aWindow, envelopesOf, newFolder, removeFrom, takeAll } from "./fixture.ts";

const owner = { plant: "plant", gateway: "gateway-1", featureSetId: "aa" };
const frame = aFrame;
const nothing = { frames: [], states: [], opened: [], closed: [] };

it("keeps frames, states and open windows over a restart, and its epoch and sequence with them", () => {
  const path = join(newFolder(), "edge.db");
  const state = { machine: "a", snapshot: "{}", lastRowMs: 12.5, arrivedMs: 10 };
  let epoch: number;
  {
    using store = new EdgeStore(path, owner);
    epoch = store.epoch;
    store.commit({ frames: [frame(0), frame(1)], states: [state], opened: [aWindow("a", 10, -7), aWindow("b", 10)], closed: [] });
    store.commit({ ...nothing, frames: [frame(2)], closed: [aWindow("b", 10)] });
    removeFrom(store, 0);
    expect(store.depth).toEqual({ frames: 2, bytes: 16 });
  }
  using store = new EdgeStore(path, owner);
  expect(store.epoch).toBe(epoch);
  expect(store.nextSequence).toBe(3);
  expect(store.depth).toEqual({ frames: 2, bytes: 16 });
  expect(takeAll(store).map(({ sequence }) => sequence)).toEqual([1, 2]);
  expect(store.states()).toEqual([state]);
  expect(store.openWindows()).toEqual([aWindow("a", 10, -7)]);
});

it("numbers frames on after the spool is empty, also over a restart", () => {
  const path = join(newFolder(), "edge.db");
  {
    using store = new EdgeStore(path, owner);
    store.commit({ ...nothing, frames: [frame(0)] });
    removeFrom(store, 0);
  }
  using store = new EdgeStore(path, owner);
  expect(store.nextSequence).toBe(1);
  expect(() => store.commit({ ...nothing, frames: [frame(0)] })).toThrow(RangeError);
});

it("changes nothing when a commit fails in its middle", () => {
  using store = new EdgeStore(join(newFolder(), "edge.db"), owner);
  store.commit({ ...nothing, opened: [aWindow("a", 10)] });
  expect(() => store.commit({ ...nothing, frames: [frame(0)], opened: [aWindow("a", 10)] })).toThrow(/STORE_UNAVAILABLE/);
  expect(store.nextSequence).toBe(0);
  expect(store.depth).toEqual({ frames: 0, bytes: 0 });
  store.commit({ ...nothing, frames: [frame(0)] });
});

it("is on the disk as soon as commit returns: a copy of the files taken then opens with everything in it", () => {
  const folder = newFolder();
  using store = new EdgeStore(join(folder, "edge.db"), owner);
  for (let sequence = 0; sequence < 5; sequence++) {
    store.commit({ ...nothing, frames: [frame(sequence)] });
    for (const suffix of ["", "-wal"]) {
      if (existsSync(join(folder, `edge.db${suffix}`)))
        copyFileSync(join(folder, `edge.db${suffix}`), join(folder, `copy${sequence}.db${suffix}`));
    }
    using copy = new EdgeStore(join(folder, `copy${sequence}.db`), owner);
    expect(envelopesOf(takeAll(copy)).map(([first]) => first)).toEqual(Array.from({ length: sequence + 1 }, (_, i) => i));
  }
});

it("refuses a second agent on the same file, and another gateway's store", () => {
  const path = join(newFolder(), "edge.db");
  {
    using _store = new EdgeStore(path, owner);
    expect(() => new EdgeStore(path, owner)).toThrow(/STORE_UNAVAILABLE/);
  }
  expect(() => new EdgeStore(path, { ...owner, gateway: "gateway-2" })).toThrow(/belongs to plant\/gateway-1/);
});

it("takes another feature set only when no window of the old one waits", () => {
  const path = join(newFolder(), "edge.db");
  const other = { ...owner, featureSetId: "bb" };
  {
    using store = new EdgeStore(path, owner);
    store.commit({ ...nothing, opened: [aWindow("a", 10)] });
  }
  expect(() => new EdgeStore(path, other)).toThrow(/--drain/);
  {
    using store = new EdgeStore(path, owner);
    store.commit({ ...nothing, closed: [aWindow("a", 10)] });
  }
  new EdgeStore(path, other)[Symbol.dispose]();
});

it("keeps a frame in quarantine and gives it another chance when it fits", () => {
  using store = new EdgeStore(join(newFolder(), "edge.db"), owner);
  store.commit({ ...nothing, frames: [frame(0), frame(1)] });
  store.take({ kind: "frame", sequence: 0 });
  store.quarantine(0, "too large");
  expect(store.depth.frames).toBe(1);
  expect(store.quarantined).toBe(1);
  expect(store.releaseQuarantine(7)).toBe(0);
  expect(store.releaseQuarantine(8)).toBe(1);
  expect(envelopesOf(takeAll(store))).toEqual([frame(0).envelope, frame(1).envelope]);
});

it("makes epochs below 2^48 that grow with time", () => {
  const [early, later] = [newEpoch(Date.UTC(2026, 0, 1)), newEpoch(Date.UTC(2026, 0, 2))];
  expect(later).toBeGreaterThan(early);
  expect(newEpoch(Date.UTC(2300, 0, 1))).toBeLessThan(2 ** 48);
});
