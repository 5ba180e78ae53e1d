import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { calibrationOf, exact, type Measurement, timed } from "../harness/result.ts";
import { type SamplingRule, sumOf } from "../harness/sampling.ts";
import { ours } from "./ours.ts";
import { defaultVenvFolder, measurePeer, PEERS } from "./python-peer.ts";
import { FEATURE_COUNT, scoredWindows, writeWindows } from "./scored-windows.ts";
import type { PeerRun, PeersReport } from "./way.ts";

export type PeersOptions = {
  readonly rule: SamplingRule;
  /** Where peers are, or get, installed; the user's cache by default. */
  readonly venvFolder?: string;
  readonly say: (line: string) => void;
};

/**
 * The same head on the same windows, encrypted, by this code and by each peer, one after the other in one run.
 * @returns the report, and our own figures beside the calibration loop; peers are not timed beside it
 */
export async function peers({ rule, venvFolder = defaultVenvFolder(process.env), say }: PeersOptions) {
  const windows = scoredWindows();
  const folder = mkdtempSync(join(tmpdir(), "smile-peers-"));
  try {
    const windowsPath = join(folder, "windows.json");
    writeWindows(windowsPath, windows, rule.samples);
    say("SMiLe Stream: measuring");
    const symmetric = await ours("symmetric", windows, rule);
    const publicKey = await ours("public", windows, rule);
    const runs: PeerRun[] = [];
    for (const peer of PEERS) runs.push(await measurePeer(peer, { venvFolder, windowsPath, say }));
    const report: PeersReport = {
      windows: windows.features.length,
      features: FEATURE_COUNT,
      ours: [symmetric.way, publicKey.way],
      peers: runs,
    };
    return {
      report,
      measurements: [symmetric, publicKey].flatMap(ownMeasurements),
      calibrationUs: calibrationOf([symmetric.samples.service]),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function ownMeasurements({ way, samples }: Awaited<ReturnType<typeof ours>>): Measurement[] {
  const service = sumOf(samples.check, samples.service);
  return [
    timed(`${way.way}/service`, "us/window", service),
    timed(`${way.way}/service with sanitiser`, "us/window", sumOf(service, samples.sanitiser)),
    exact(`${way.way}/up`, "B/window", way.bytes.up),
    exact(`${way.way}/down`, "B/window", way.bytes.down),
  ];
}
