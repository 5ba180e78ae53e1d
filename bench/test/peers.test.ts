import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";
import { contestants, demands } from "../peers/demands.ts";
import { ours } from "../peers/ours.ts";
import { measurePeer } from "../peers/python-peer.ts";
import { scoredWindows, writeWindows } from "../peers/scored-windows.ts";
import { peersTable } from "../peers/table.ts";
import { measuredWays, type PeersReport, parsePeerRun, parseReport, serviceSamples, serviceUs } from "../peers/way.ts";

/** A real run of all peers, 22 November 2026, on a busy machine. */
const recorded = (): PeersReport => parseReport(readFileSync(new URL("../peers/recorded-run.json", import.meta.url), "utf8"));
const withPeers = (change: (peers: PeersReport["peers"]) => PeersReport["peers"]): PeersReport => {
  const report = recorded();
  return { ...report, peers: change(report.peers) };
};
const demandOf = (report: PeersReport, id: string) => demands(report).find((demand) => demand.id === id)!;
const quick = { samples: 2, sampleMs: 0.1, warmUpMs: 0.1 };

it("reads what the peers' scripts wrote, and gives every way a row with its parameters and version", () => {
  const report = recorded();
  expect(report.peers.map(({ peer }) => peer)).toEqual(["TenSEAL", "OpenFHE", "Concrete ML"]);
  expect(measuredWays(report.peers).length).toBe(11);
  const text = peersTable(report);
  for (const run of report.peers)
    if ("ways" in run) for (const { way } of run.ways) expect(text).toContain(`${run.peer} ${run.version}, ${way}  `);
  expect(text).toContain("primeBits [60,40,40,60]");
  expect(text).toContain("refused: Expected argument 0");
});

it("adds the steps of the service round by round", () => {
  const { way } = measuredWays(recorded().peers)[0]!;
  const steps = { load: [1, 2, 3], compute: [10, 30, 20], save: [100, 100, 200] };
  expect(serviceSamples({ ...way, service: steps })).toEqual([111, 132, 223]);
  expect(serviceUs({ ...way, service: steps })).toBe(132);
});

it("compares with the way of least work among all peers, and says how many windows that needs", () => {
  const report = recorded();
  const { ours: own, bestBatching, oneByOne } = contestants(report);
  for (const { way } of measuredWays(report.peers)) expect(serviceUs(way)).toBeGreaterThanOrEqual(serviceUs(bestBatching!.way));
  expect(demandOf(report, "windowsOverOurs").value).toBe(bestBatching!.way.windowsPerBatch / 32);
  expect(demandOf(report, "oneByOneOverOurs").value).toBeCloseTo(serviceUs(oneByOne!) / serviceUs(own), 9);
  expect(own.largestError).toBe(0);
});

it("meets a demand at its limit and misses it beyond", () => {
  const report = recorded();
  const { bestBatching } = contestants(report);
  const taking = (us: number): PeersReport => ({
    ...report,
    ours: report.ours.map((way) => ({ ...way, service: { score: [us] } })),
  });
  const best = serviceUs(bestBatching!.way);
  expect(demandOf(taking(best), "oursOverBestBatching").met).toBe(true);
  expect(demandOf(taking(best * 1.01), "oursOverBestBatching").met).toBe(false);
  expect(peersTable(taking(best * 1.01))).toMatch(/NOT MET 1\.01 \(at most 1\)/);
});

it("names a peer that could not be installed with the reason, and decides nothing that needs it", () => {
  const report = withPeers((peers) => [{ peer: "TenSEAL", missing: "needs Python 3.11: python3 is 3.9" }, ...peers.slice(1)]);
  expect(peersTable(report)).toContain("TenSEAL: not measured: needs Python 3.11: python3 is 3.9");
  expect(demandOf(report, "oneByOneOverOurs")).toMatchObject({ value: null, met: null });
  expect(contestants(report).bestBatching!.peer).not.toBe("TenSEAL");
});

it("compares with nothing, and says so, when there is no peer at all", () => {
  const report = withPeers((peers) => peers.map(({ peer }) => ({ peer, missing: "no network" })));
  expect(demands(report).map(({ value, met }) => [value, met])).toEqual(demands(report).map(() => [null, null]));
  expect(peersTable(report)).toContain("not measured (at least 1000)");
});

it("tells of a way that failed, beside the others of its peer", () => {
  const report = withPeers(([first, ...rest]) => {
    if (first === undefined || !("ways" in first)) throw new Error("the recorded run has no TenSEAL");
    return [{ ...first, ways: [{ way: "seeded", failed: "AttributeError: save" }, ...first.ways] }, ...rest];
  });
  expect(peersTable(report)).toContain("TenSEAL 0.3.18 (Python 3.11.7), seeded: not measured: AttributeError: save");
  expect(measuredWays(report.peers).length).toBe(11);
});

it("takes no result with a time that is no time, or without a way's bytes", () => {
  const [tenseal] = recorded().peers;
  const text = JSON.stringify(tenseal);
  expect(() => parsePeerRun(text.replace(/"encrypt":\[[^,]*,/, '"encrypt":[-1,'))).toThrow(z.ZodError);
  expect(() => parsePeerRun(text.replaceAll('"bytesAt32"', '"bytesAt31"'))).toThrow(z.ZodError);
  expect(parsePeerRun(text)).toEqual(tenseal);
});

it("names a Python that is not there as the reason, and installs nothing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "smile-peers-test-"));
  try {
    const windowsPath = join(folder, "windows.json");
    const peer = { name: "TenSEAL", id: "tenseal", python: "2.0", script: "tenseal_ways.py" };
    const run = await measurePeer(peer, { venvFolder: folder, windowsPath, say: () => {} });
    expect(run).toMatchObject({ peer: "TenSEAL", missing: expect.stringContaining("needs Python 2.0: python2.0 does not run") });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("gives every peer the same windows each time, of 8 bits, with the exact scores", () => {
  const folder = mkdtempSync(join(tmpdir(), "smile-peers-test-"));
  try {
    const path = join(folder, "windows.json");
    writeWindows(path, scoredWindows(), 3);
    const { features, weights, scores, samples } = JSON.parse(readFileSync(path, "utf8"));
    const { features: again } = scoredWindows();
    expect(samples).toBe(3);
    expect(features.length).toBe(8192);
    expect(Array.from(again[4095]!)).toEqual(features[4095]);
    for (const at of [0, 4095, 8191]) {
      expect(scores[at]).toBe(features[at].reduce((sum: number, x: number, f: number) => sum + x * weights[f], 0));
      expect(Math.max(...features[at].map(Math.abs))).toBeLessThanOrEqual(127);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

it("scores the windows of the comparison exactly itself, in both key modes", async () => {
  const windows = scoredWindows();
  for (const keyMode of ["symmetric", "public"] as const) {
    const { way } = await ours(keyMode, windows, quick);
    expect(way).toMatchObject({ largestError: 0, windowsPerBatch: 32 });
    expect(way.largestScore).toBe(contestants(recorded()).ours.largestScore);
  }
});
