import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import type { FeatureSet, LiftedWindow, Row } from "@smile/features/spec";
import { WindowStream } from "@smile/features/window-stream";
import fc from "fast-check";
import { expect, it } from "vitest";
import { zeroCounters } from "../src/counters.ts";
import { laneMap } from "../src/lane-map.ts";
import { EdgeStore } from "../src/store.ts";
import { WindowPipeline } from "../src/window-pipeline.ts";
import { featureSet, lanes, machines, newFolder, someRows } from "./fixture.ts";

/** One life of a pipeline on a store, which ends as a crash does: what was not committed is gone. */
function openLife(path: string, options: { leased?: readonly string[]; spec?: FeatureSet } = {}) {
  const { leased = machines, spec = featureSet } = options;
  const store = new EdgeStore(path, { plant: "plant", gateway: "gateway-1", featureSetId: spec.name });
  const windows: LiftedWindow[] = [];
  const forgotten: string[] = [];
  const pipeline = new WindowPipeline(
    {
      gateway: "gateway-1",
      featureSet: spec,
      places: laneMap({ firstLane: 0, machines: [...leased] }, lanes),
      rule: { lingerMs: 1e9, largestOpenEnds: 2 },
      sealer: { sealFrame: (id) => Uint8Array.of(id.sequence) },
      store,
      counters: zeroCounters(),
      now: () => 0,
      hooks: { onWindow: (window) => windows.push(window), onForgotten: (machine) => forgotten.push(machine) },
    },
    0,
  );
  return { store, pipeline, windows, forgotten, [Symbol.dispose]: () => store[Symbol.dispose]() };
}

const contentOf = (windows: readonly LiftedWindow[]) =>
  windows.map(({ machine, endMs, features }) => `${machine} ${endMs} ${features.join(",")}`).toSorted();
const windowsOf = (rows: readonly Row[], spec = featureSet) => {
  const stream = new WindowStream(spec);
  return contentOf([...rows.flatMap((row) => stream.push(row)), ...stream.flush()]);
};
const tables = (path: string) => {
  const db = new DatabaseSync(path, { readOnly: true });
  const row = db.prepare("SELECT (SELECT count(*) FROM row_log) AS logged, (SELECT count(*) FROM state) AS states").get();
  db.close();
  return row as { logged: number; states: number };
};

it("stands after any crash where its last commit left it, bit for bit, whichever machines have a lane meanwhile", () => {
  const lives = fc.array(
    fc.record({
      leased: fc.subarray(machines, { minLength: 1 }),
      /** Rows of each commit of this life; those behind the last one are lost and come again. */
      commits: fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 6 }),
      lost: fc.nat(20),
    }),
    { minLength: 1, maxLength: 4 },
  );
  fc.assert(
    fc.property(lives, (all) => {
      const rows = someRows(200, 21);
      const path = join(newFolder(), "edge.db");
      const sealed: LiftedWindow[] = [];
      const taken: Row[] = [];
      let at = 0;
      for (const { leased, commits, lost } of all) {
        using life = openLife(path, { leased });
        for (const [i, count] of commits.entries()) {
          const part = rows.slice(at, at + count);
          for (const row of part) life.pipeline.take(row, 0);
          // Windows that are open when their machine loses its lane are given up; here none are.
          if (i === commits.length - 1) life.pipeline.sealAll();
          life.pipeline.commit();
          taken.push(...part.filter(({ machine }) => leased.includes(machine)));
          at += part.length;
        }
        for (const row of rows.slice(at, at + lost)) life.pipeline.take(row, 0);
        sealed.push(...life.windows);
      }
      using life = openLife(path);
      for (const row of rows.slice(at)) life.pipeline.take(row, 0);
      life.pipeline.flush(0);
      life.pipeline.sealAll();
      life.pipeline.commit();
      expect(contentOf([...sealed, ...life.windows])).toEqual(windowsOf([...taken, ...rows.slice(at)]));
    }),
    { seed: 22, numRuns: 12 },
  );
});

it("keeps rows only as long as a state does not cover them, and stores all states over time", () => {
  const path = join(newFolder(), "edge.db");
  const most: number[] = [];
  {
    using life = openLife(path);
    for (const [i, row] of someRows(400, 23).entries()) {
      life.pipeline.take(row, 0);
      if (i % 24 !== 23) continue;
      life.pipeline.commit();
      most.push([...life.store.rowsSinceStates()].length);
    }
  }
  const state = 800; // bytes of a state of this lift, and a little
  expect(Math.max(...most.slice(20)) * 32).toBeLessThan(machines.length * state);
  expect(most.at(-1)).toBeGreaterThan(0);
  {
    using life = openLife(path);
    life.pipeline.flush(0);
    life.pipeline.commit();
  }
  expect(tables(path)).toEqual({ logged: 0, states: machines.length });
});

it("starts anew under another lift, and takes no row of the old one again", () => {
  const path = join(newFolder(), "edge.db");
  const rows = someRows(60, 24);
  const half = rows.length / 2;
  {
    using life = openLife(path);
    for (const row of rows.slice(0, half)) life.pipeline.take(row, 0);
    life.pipeline.sealAll();
    life.pipeline.commit();
    for (const row of rows.slice(half, half + 5)) life.pipeline.take(row, 0);
    life.pipeline.sealAll();
    life.pipeline.commit();
    expect([...life.store.rowsSinceStates()].length).toBeGreaterThan(0);
  }
  const spec: FeatureSet = { ...featureSet, lift: { ...featureSet.lift, baselineRows: 4 } as FeatureSet["lift"] };
  const rest = rows.slice(half + 5);
  const sealed: LiftedWindow[] = [];
  for (const part of [rest.slice(0, 40), rest.slice(40)]) {
    using life = openLife(path, { spec });
    for (const row of part) life.pipeline.take(row, 0);
    life.pipeline.commit();
    sealed.push(...life.windows);
  }
  using life = openLife(path, { spec });
  life.pipeline.flush(0);
  life.pipeline.sealAll();
  life.pipeline.commit();
  sealed.push(...life.windows);
  expect(life.forgotten).toEqual([]);
  expect(contentOf(sealed)).toEqual(windowsOf(rest, spec));
});

it("takes over a store of version 2, which had a state for every row", () => {
  const path = join(newFolder(), "edge.db");
  const rows = someRows(80, 25);
  const half = rows.length / 2;
  const sealed: LiftedWindow[] = [];
  {
    using life = openLife(path);
    for (const row of rows.slice(0, half)) life.pipeline.take(row, 0);
    life.pipeline.commit(); // the first states of all machines, and so no rows
    sealed.push(...life.windows);
  }
  expect(tables(path)).toMatchObject({ logged: 0 });
  const db = new DatabaseSync(path);
  db.exec("DROP TABLE row_log; ALTER TABLE state DROP COLUMN covers; PRAGMA user_version = 2");
  db.close();
  using life = openLife(path);
  for (const row of rows.slice(half)) life.pipeline.take(row, 0);
  life.pipeline.flush(0);
  life.pipeline.sealAll();
  life.pipeline.commit();
  sealed.push(...life.windows);
  expect(contentOf(sealed)).toEqual(windowsOf(rows));
});
