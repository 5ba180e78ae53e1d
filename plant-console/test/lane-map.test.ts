import fc from "fast-check";
import { expect, it } from "vitest";
import { LaneMap } from "../src/lane-map.ts";

const leases = [
  { gateway: "a", firstLane: 0, machines: ["m0", "m1", "m2"] },
  { gateway: "b", firstLane: 3, machines: ["m3", "m4"] },
];

it("finds the machine of a lane across blocks", () => {
  const map = new LaneMap(leases, 2);
  expect(map.find("a", 0, 1)).toBe("m1");
  expect(map.find("a", 1, 0)).toBe("m2");
  expect(map.find("b", 1, 1)).toBe("m3");
  expect(map.find("b", 2, 0)).toBe("m4");
  expect(map.machines).toEqual(["m0", "m1", "m2", "m3", "m4"]);
});

it("finds every leased lane and no other", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(sizes, fc.integer({ min: 1, max: 9 }), (counts, lanesPerBlock) => {
      let lane = 0;
      const given = counts.map((count, g) => {
        const firstLane = lane;
        lane += count + 1; // leaves a hole of one lane
        return { gateway: `g${g}`, firstLane, machines: Array.from({ length: count }, (_, i) => `m${firstLane + i}`) };
      });
      const map = new LaneMap(given, lanesPerBlock);
      for (let global = 0; global <= lane; global++) {
        for (const { gateway, firstLane, machines } of given) {
          const expected = global >= firstLane && global < firstLane + machines.length ? `m${global}` : undefined;
          expect(map.find(gateway, Math.floor(global / lanesPerBlock), global % lanesPerBlock)).toBe(expected);
        }
      }
    }),
    { seed: 33, numRuns: 50 },
  );
});

it("knows no lane of another gateway, none beyond the block and none that is not leased", () => {
  const map = new LaneMap(leases, 2);
  for (const [gateway, block, lane] of [
    ["b", 0, 0],
    ["a", 0, 2],
    ["a", 2, 1],
    ["c", 0, 0],
    ["a", 0, -1],
  ] as const) {
    expect(map.find(gateway, block, lane)).toBeUndefined();
  }
});

it("refuses leases that share a lane or a machine", () => {
  const overlapping = [...leases, { gateway: "c", firstLane: 4, machines: ["m9"] }];
  expect(() => new LaneMap(overlapping, 2)).toThrow(/global lane 4 is leased to gateway b and to gateway c.*CONFIG_INVALID/);
  const twice = [...leases, { gateway: "c", firstLane: 9, machines: ["m1"] }];
  expect(() => new LaneMap(twice, 2)).toThrow(/machine m1 has a lane of gateway a and one of gateway c.*CONFIG_INVALID/);
});
