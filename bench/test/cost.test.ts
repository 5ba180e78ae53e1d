import { expect, it } from "vitest";
import { costs, PRICES } from "../harness/cost.ts";
import { type BenchResult, exact } from "../harness/result.ts";

function result(headline: Record<string, number>, figures: Record<string, number>): BenchResult {
  return {
    ...{ kind: "bench-result", version: 1, bench: "of a test", takenAt: "2026-11-22T00:00:00Z", calibrationUs: 0 },
    revision: { commit: null, changed: false },
    machine: { cpu: "", cores: 2, memoryMb: 0, os: "", node: "", load: 0 },
    headline,
    measurements: Object.entries(figures).map(([name, value]) => exact(name, "us/window", value)),
  };
}

const processes = (load: string, us: number) =>
  Object.fromEntries(["stream-processor", "model-service", "kafka", "gateways", "plant-console"].map((name) => [`${load}: ${name}`, us]));
/** Gateways share two processes: together they cost what one of the others does. */
const endToEnd = result(
  {},
  {
    ...processes("at half the knee", 10),
    ...{ "at half the knee: gateways": 6, "at half the knee: gateways 2": 4, "at half the knee: gateways 2, memory": 300 },
    ...processes("unencrypted", 5),
  },
);
const bytes = result({ upPerWindow: 350, downPerScoreExact: 280, rawPerWindow: 256 }, {});

it("prices a million windows by CPU and bytes, linearly in each price", () => {
  const [encrypted, cloud, edge] = costs(endToEnd, bytes, { cloudCoreHour: 3.6, edgeCoreHour: 0.36, gigabyte: 1 });
  // 30 us in the cloud and 20 us at the plant per window are 30 and 20 seconds per million; 630 B per window are 0.63 GB.
  expect(encrypted).toMatchObject({ cloudCpu: expect.closeTo(0.03), edgeCpu: expect.closeTo(0.002), network: expect.closeTo(0.63) });
  expect(encrypted!.total).toBeCloseTo(0.662);
  expect(cloud).toMatchObject({ cloudCpu: expect.closeTo(0.015), edgeCpu: expect.closeTo(0.001), network: expect.closeTo(0.26) });
  expect(edge).toMatchObject({ cloudCpu: 0, edgeCpu: expect.closeTo(0.0005), network: 0 });
  const twice = costs(endToEnd, bytes, { ...PRICES, gigabyte: 2 * PRICES.gigabyte });
  const once = costs(endToEnd, bytes, PRICES);
  expect(twice.map(({ network }, i) => network - 2 * once[i]!.network)).toEqual([0, 0, 0]);
});

it("says which figure a stored result lacks", () => {
  expect(() => costs(result({}, {}), bytes, PRICES)).toThrow(/at half the knee: stream-processor/);
  expect(() => costs(endToEnd, result({}, {}), PRICES)).toThrow(/upPerWindow/);
});
