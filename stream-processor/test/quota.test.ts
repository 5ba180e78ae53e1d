import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { PlantQuota } from "../src/quota.ts";

beforeEach(() => {
  vi.useFakeTimers({ now: 1_790_000_000_000 });
});
afterEach(() => {
  vi.useRealTimers();
});

const outcomes = (turns: readonly Promise<void>[]) => {
  const seen: string[] = turns.map(() => "waits");
  turns.forEach((turn, i) => {
    turn.then(
      () => {
        seen[i] = "goes";
      },
      (error: { code: string }) => {
        seen[i] = error.code;
      },
    );
  });
  return seen;
};
const count = (seen: readonly string[], what: string) => seen.filter((each) => each === what).length;

it("lets a plant's messages go at its rate, in their order, and another plant's at once", async () => {
  const quota = new PlantQuota({ framesPerSecond: 10, bytesPerSecond: 1 << 20 });
  const seen = outcomes(Array.from({ length: 35 }, () => quota.turn("busy", 100)));
  await vi.advanceTimersByTimeAsync(0);
  expect(seen.slice(0, 10).every((each) => each === "goes")).toBe(true);
  expect(count(seen, "waits")).toBe(25);
  const other = outcomes([quota.turn("calm", 100)]);
  await vi.advanceTimersByTimeAsync(0);
  expect(other).toEqual(["goes"]);
  for (const gone of [20, 30, 35]) {
    await vi.advanceTimersByTimeAsync(1001);
    expect(seen.map((each) => each === "goes")).toEqual(seen.map((_, i) => i < gone));
  }
  expect(quota.waitedSeconds.busy).toBeGreaterThan(10 + 2 * 10 + 3 * 5 - 1);
  expect(quota.waitedSeconds).not.toHaveProperty("calm");
  expect(quota.exceeded).toEqual({});
});

it("counts bytes, too: a second's share of large messages is fewer of them", async () => {
  const quota = new PlantQuota({ framesPerSecond: 1000, bytesPerSecond: 100_000 });
  const seen = outcomes(Array.from({ length: 6 }, () => quota.turn("p", 40_000)));
  await vi.advanceTimersByTimeAsync(0);
  expect(count(seen, "goes")).toBe(2);
  await vi.advanceTimersByTimeAsync(1001);
  expect(count(seen, "goes")).toBe(4);
  // Larger than a second's share: it takes a whole one, and does go.
  const large = outcomes([quota.turn("q", 500_000)]);
  await vi.advanceTimersByTimeAsync(0);
  expect(large).toEqual(["goes"]);
});

it("gives messages back when too many wait, or wait for too long", async () => {
  const quota = new PlantQuota({ framesPerSecond: 1, bytesPerSecond: 1 << 20 });
  const seen = outcomes(Array.from({ length: 1005 }, () => quota.turn("p", 10)));
  await vi.advanceTimersByTimeAsync(0);
  expect([count(seen, "goes"), count(seen, "QUOTA_EXCEEDED")]).toEqual([1, 4]);
  await vi.advanceTimersByTimeAsync(15_000);
  expect(count(seen, "waits")).toBe(0);
  expect(count(seen, "goes")).toBeLessThanOrEqual(12);
  expect(quota.exceeded.p).toBe(count(seen, "QUOTA_EXCEEDED"));
});

it("holds nobody up for as long as the clock is set back: who waits is given back, and comes again", async () => {
  const quota = new PlantQuota({ framesPerSecond: 2, bytesPerSecond: 1000 });
  const before = outcomes([1, 2].map(() => quota.turn("p", 1)));
  await vi.advanceTimersByTimeAsync(0);
  vi.setSystemTime(Date.now() - 3_600_000);
  const seen = outcomes([quota.turn("p", 1)]);
  await vi.advanceTimersByTimeAsync(0);
  expect([...before, ...seen]).toEqual(["goes", "goes", "goes"]);
  // Those who already wait when it happens:
  const more = outcomes(Array.from({ length: 4 }, () => quota.turn("p", 1)));
  await vi.advanceTimersByTimeAsync(0);
  expect(more).toEqual(["goes", "waits", "waits", "waits"]);
  vi.setSystemTime(Date.now() - 3_600_000);
  const next = outcomes([quota.turn("p", 1)]);
  await vi.advanceTimersByTimeAsync(0);
  expect([...more, ...next]).toEqual(["goes", ...Array(3).fill("QUOTA_EXCEEDED"), "goes"]);
  expect(quota.exceeded).toEqual({ p: 3 });
  await vi.advanceTimersByTimeAsync(4_000_000);
  expect(quota.exceeded).toEqual({ p: 3 });
});

it("knows plants by any name that a plant may have", async () => {
  const quota = new PlantQuota({ framesPerSecond: 1, bytesPerSecond: 1000 });
  const seen = outcomes(["constructor", "toString", "limiter", "constructor"].map((plant) => quota.turn(plant, 1)));
  await vi.advanceTimersByTimeAsync(0);
  expect(seen).toEqual(["goes", "goes", "goes", "waits"]);
  await vi.advanceTimersByTimeAsync(1001);
  expect(seen[3]).toBe("goes");
  expect(quota.waitedSeconds.constructor).toBeGreaterThan(0.9);
});

it("keeps nobody waiting when it is disposed", async () => {
  const quota = new PlantQuota({ framesPerSecond: 1, bytesPerSecond: 1000 });
  const seen = outcomes([quota.turn("p", 1), quota.turn("p", 1), quota.turn("q", 1)]);
  await vi.advanceTimersByTimeAsync(0);
  quota[Symbol.dispose]();
  await vi.advanceTimersByTimeAsync(0);
  expect(seen).toEqual(["goes", "STOPPED", "goes"]);
  await expect(quota.turn("q", 1)).rejects.toThrow(/STOPPED/);
});
