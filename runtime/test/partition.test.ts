import { expect, it } from "vitest";
import { partitionOf } from "../src/partition.ts";

it("keeps every key where stored logs have it", () => {
  expect(["plant-1", "plant-2", "", "Werk Süd"].map((key) => partitionOf(key, 12))).toEqual([10, 9, 2, 11]);
});

it("spreads keys over all partitions", () => {
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 4000; i++) counts[partitionOf(`plant-${i}`, 4)]!++;
  expect(Math.min(...counts)).toBeGreaterThan(900);
});
