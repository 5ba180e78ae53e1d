import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Outgoing, SpoolBounds } from "../src/spool.ts";
import { EdgeStore, type StoreOptions } from "../src/store.ts";
import { aFrame, envelopesOf, gapsOf as gaps, newFolder, removeFrom, takeAll } from "./fixture.ts";

const owner = { plant: "plant", gateway: "gateway-1", featureSetId: "aa" };
const nothing = { frames: [], states: [], opened: [], closed: [] };
const day = 86_400_000;
const everything = { from: 0, gapsFrom: 0, before: Number.MAX_SAFE_INTEGER };

function openStore(bounds: Partial<SpoolBounds>, path = ":memory:", more: StoreOptions = {}): EdgeStore {
  return new EdgeStore(path, owner, { bounds: { maxBytes: 2 ** 40, maxAgeMs: day, ...bounds }, ...more });
}

/** Commits so many frames, ten at a time. @returns how many had to go */
function fill(store: EdgeStore, frames: number, size = 100): number {
  let dropped = 0;
  for (let left = frames; left > 0; left -= 10) {
    const from = store.nextSequence;
    const batch = range(from, from + Math.min(left, 10) - 1).map((sequence) => aFrame(sequence, size));
    dropped += store.commit({ ...nothing, frames: batch }).frames;
  }
  return dropped;
}

const sequences = (items: readonly Outgoing[]) => items.filter(({ kind }) => kind === "frame").map(({ sequence }) => sequence);
const range = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

it("drops the oldest frames as whole segments when bytes run out, and leaves one gap that counts them, in their place", () => {
  using store = openStore({ maxBytes: 100_000 });
  const dropped = fill(store, 1500);
  expect(store.depth.bytes).toBeLessThanOrEqual(100_000);
  expect(dropped % 64).toBe(0);
  const items = takeAll(store);
  expect(items[0]!.kind).toBe("gap");
  expect(sequences(items)).toEqual(range(dropped, 1499));
  const times = { fromTimeMs: 0, toTimeMs: 1000 * (dropped - 1) };
  expect(gaps(items)).toMatchObject([
    { ...{ plant: "plant", gateway: "gateway-1", epoch: store.epoch }, fromSequence: 0, toSequence: dropped - 1, frames: dropped },
  ]);
  expect(gaps(items)).toMatchObject([{ windows: dropped, ...times, reason: "bytes" }]);
});

it("drops frames by the time that agents ran, whatever the wall clock does in between and however long they were off", () => {
  const path = join(newFolder(), "edge.db");
  let ranMs = 0;
  const options = { monotonicMs: () => ranMs, now: () => Date.UTC(1970, 0, 1) };
  {
    using store = openStore({ maxAgeMs: day }, path, options);
    fill(store, 3);
    ranMs += day / 2;
    fill(store, 3);
  }
  ranMs = 1e12; // another process's clock
  using store = openStore({ maxAgeMs: day }, path, { ...options, now: () => Date.UTC(2040, 0, 1) });
  expect(fill(store, 1)).toBe(0);
  ranMs += day / 2 + 1;
  expect(fill(store, 1)).toBe(3);
  const items = takeAll(store);
  expect(gaps(items)).toMatchObject([{ fromSequence: 0, toSequence: 2, reason: "age", windows: 3 }]);
  expect(sequences(items)).toEqual(range(3, 7));
});

it("drops neither what is under way nor what was acknowledged", () => {
  using store = openStore({ maxBytes: 10_000 });
  fill(store, 10);
  const underWay = range(0, 4).map(() => store.take(store.peek(everything)!));
  store.acknowledge(1);
  store.acknowledge(3);
  fill(store, 300);
  const later = takeAll(store);
  expect(gaps(later).map(({ fromSequence }) => fromSequence)).toEqual([5]);
  const all = [...sequences(underWay), ...sequences(later), ...gaps(later).flatMap((gap) => range(gap.fromSequence, gap.toSequence))];
  expect(all.toSorted((a, b) => a - b)).toEqual(range(0, 309));
  expect(store.depth.bytes).toBeLessThanOrEqual(10_000);
});

it("a gap that was sent keeps its extent, over a restart too; what is dropped later is another gap", () => {
  const path = join(newFolder(), "edge.db");
  let first: Outgoing;
  {
    using store = openStore({ maxBytes: 10_000 }, path);
    fill(store, 200);
    first = store.take(store.peek(everything)!);
    fill(store, 100);
  }
  using store = openStore({ maxBytes: 10_000 }, path);
  const items = takeAll(store);
  expect(items[0]).toMatchObject({ kind: "gap", sequence: 0 });
  expect(items[0]).toEqual(first);
  const [one, two] = gaps(items);
  expect(two!.fromSequence).toBe(one!.toSequence + 1);
  removeFrom(store, ...items.map(({ sequence }) => sequence));
  expect([store.depth.frames, store.gaps, store.unsent]).toEqual([0, 0, 0]);
});

it("counts what is in quarantine towards its bound, and lets it go in its turn", () => {
  using store = openStore({ maxBytes: 1000 });
  fill(store, 5);
  store.take({ kind: "frame", sequence: 0 });
  store.quarantine(0, "too large");
  expect(store.depth).toEqual({ frames: 4, bytes: 400 });
  expect(fill(store, 5)).toBe(0);
  expect(fill(store, 1)).toBeGreaterThan(0);
  expect(store.quarantined).toBe(0);
  expect(gaps(takeAll(store))).toMatchObject([{ fromSequence: 0 }]);
});

it("treats a full disk as its bound: the oldest go, counted, and what is new is kept", () => {
  using store = openStore({}, join(newFolder(), "edge.db"), { maxPages: 200 });
  const dropped = fill(store, 300, 8000);
  expect(dropped).toBeGreaterThan(100);
  const items = takeAll(store);
  const [gap] = gaps(items);
  expect(gap).toMatchObject({ fromSequence: 0, frames: dropped, reason: "bytes" });
  expect(sequences(items)).toEqual(range(dropped, 299));
});

it("takes nothing more when the disk is full and nothing may go, and goes on when there is room", () => {
  using store = openStore({}, join(newFolder(), "edge.db"), { maxPages: 200 });
  fill(store, 40, 8000);
  const underWay = takeAll(store);
  const more = { ...nothing, frames: range(40, 139).map((sequence) => aFrame(sequence, 8000)) };
  expect(() => store.commit(more)).toThrow(/STORE_UNAVAILABLE/);
  expect(store.nextSequence).toBe(40);
  expect(store.depth).toEqual({ frames: 40, bytes: 320_000 });
  removeFrom(store, ...sequences(underWay));
  store.commit({ ...more, frames: more.frames.slice(0, 40) });
  expect(sequences(takeAll(store))).toEqual(range(40, 79));
});

it("keeps new frames on a full disk however little the spool holds, and grows again when there is room", () => {
  let ranMs = 0;
  using store = openStore({}, join(newFolder(), "edge.db"), { maxPages: 900, monotonicMs: () => ranMs });
  fill(store, 500, 8000); // 900 pages hold some 300 of them
  const full = store.depth.frames;
  removeFrom(store, ...sequences(takeAll(store)));
  expect(fill(store, 250, 8000)).toBe(0); // 2 MB at the least
  const held = fill(store, 50, 8000);
  removeFrom(store, ...takeAll(store).map(({ sequence }) => sequence));
  ranMs = 120_000;
  fill(store, full - 10, 8000);
  expect(held).toBeLessThan(50);
  expect(store.depth.frames).toBe(full - 10);
});

it("accounts for every sequence: sent, kept, or in exactly one gap, and its figures are those of the disk", () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant("commit" as const), count: fc.integer({ min: 1, max: 20 }), size: fc.integer({ min: 1, max: 900 }) }),
    fc.record({ kind: fc.constant("take" as const), count: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ kind: fc.constant("acknowledge" as const), at: fc.nat() }),
    fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 2000 }) }),
    fc.record({ kind: fc.constant("restart" as const) }),
  );
  fc.assert(
    fc.property(fc.array(action, { minLength: 5, maxLength: 60 }), (actions) => {
      const path = join(newFolder(), "edge.db");
      let ranMs = 0;
      const open = () => openStore({ maxBytes: 10_000, maxAgeMs: 5000 }, path, { monotonicMs: () => ranMs });
      let store = open();
      let underWay: Outgoing[] = [];
      const arrived = new Map<string, Outgoing>();
      for (const step of actions) {
        if (step.kind === "commit") {
          const frames = range(0, step.count - 1).map((i) => aFrame(store.nextSequence + i, step.size));
          store.commit({ ...nothing, frames });
          const held = envelopesOf(underWay).reduce((sum, { length }) => sum + length, 0);
          expect(store.depth.bytes).toBeLessThanOrEqual(Math.max(10_000, held));
        } else if (step.kind === "take") {
          for (let i = 0; i < step.count; i++) {
            const item = store.peek(everything);
            if (item) underWay.push(store.take(item));
          }
        } else if (step.kind === "acknowledge" && underWay.length > 0) {
          const [item] = underWay.splice(step.at % underWay.length, 1);
          arrived.set(`${item!.kind} ${item!.sequence}`, item!);
          store.acknowledge(item!.sequence);
        } else if (step.kind === "wait") ranMs += step.ms;
        else if (step.kind === "restart") {
          store.removeAcknowledged();
          const depth = store.depth;
          store[Symbol.dispose]();
          underWay = [];
          store = open();
          expect(store.depth).toEqual(depth);
        }
      }
      const last = store.nextSequence;
      const items = [...arrived.values(), ...underWay, ...takeAll(store)];
      store[Symbol.dispose]();
      const accounted = [...sequences(items), ...gaps(items).flatMap((gap) => range(gap.fromSequence, gap.toSequence))];
      expect(accounted.toSorted((a, b) => a - b)).toEqual(range(0, last - 1));
    }),
    { seed: 5, numRuns: 25 },
  );
});
