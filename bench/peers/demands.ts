import { median } from "../harness/statistics.ts";
import { apartUs, bothWays, measuredWays, type PeersReport, type PeerWay, serviceUs, type Way } from "./way.ts";

/** Ours over a peer's, or the other way round, against what was asked for. */
export type Demand = {
  /** Names the figure in the bench's headline. */
  readonly id: string;
  readonly text: string;
  /** Null where the peer was not measured. */
  readonly value: number | null;
  readonly wanted: string;
  /** Null where nothing is asked for, or the peer was not measured. */
  readonly met: boolean | null;
};

/** What is compared: this code with symmetric keys, as the demands say, and the peers' ways that they name. */
export type Contestants = {
  readonly ours: Way;
  /** TenSEAL, one vector per sample. */
  readonly oneByOne: Way | undefined;
  /** Least service CPU per window of all ways of all peers, whatever it needs. */
  readonly bestBatching: PeerWay | undefined;
};

/** @throws {RangeError} when this code was not measured with symmetric keys */
export function contestants({ ours, peers }: PeersReport): Contestants {
  const own = ours.find(({ parameters }) => parameters.keys === "symmetric");
  if (own === undefined) throw new RangeError("this code was not measured with symmetric keys");
  const ways = measuredWays(peers);
  return {
    ours: own,
    oneByOne: ways.find(({ peer, way }) => peer === "TenSEAL" && way.windowsPerBatch === 1)?.way,
    bestBatching: ways.toSorted((a, b) => serviceUs(a.way) - serviceUs(b.way))[0],
  };
}

const FEWER_CPU = 1000;
const SHARE_OF_BYTES = 0.2;

/** What is asked of the comparison, with the figures that decide it. */
export function demands(report: PeersReport): Demand[] {
  const { ours, oneByOne, bestBatching } = contestants(report);
  const us = serviceUs(ours);
  const best = bestBatching?.way;
  const name = bestBatching === undefined ? "the best peer's best batching" : `${bestBatching.peer}, ${bestBatching.way.way}`;
  const quotient = (a: number | undefined, b: number | undefined) => (a === undefined || b === undefined ? null : a / b);
  const atMost = (limit: number, value: number | null) => ({
    value,
    wanted: `at most ${limit}`,
    met: value === null ? null : value <= limit,
  });
  const atLeast = (limit: number, value: number | null) => ({
    value,
    wanted: `at least ${limit}`,
    met: value === null ? null : value >= limit,
  });
  const told = (value: number | null) => ({ value, wanted: "told, not asked for", met: null });
  return [
    {
      id: "oneByOneOverOurs",
      text: "service CPU per window, TenSEAL's one vector per sample over ours, the making of our sanitisers not counted",
      ...atLeast(FEWER_CPU, quotient(oneByOne && serviceUs(oneByOne), us)),
    },
    {
      id: "oursOverBestBatching",
      text: `service CPU per window, ours over ${name} at its full batch, both from bytes to bytes`,
      ...atMost(1, quotient(us, best && serviceUs(best))),
    },
    {
      id: "oursWithSanitiserOverBestBatching",
      text: "the same, with the making of our sanitisers (peers do not hide the weights)",
      ...told(quotient(us + apartUs(ours), best && serviceUs(best))),
    },
    {
      id: "loopOverBestBatching",
      text: "the same, of sender, service and receiver together, sanitisers counted",
      ...told(quotient(loopUs(ours) + apartUs(ours), best && loopUs(best))),
    },
    {
      id: "windowsOverOurs",
      text: `windows of one sender that ${name} needs, over those we need`,
      ...told(quotient(best?.windowsPerBatch, ours.windowsPerBatch)),
    },
    {
      id: "bytesOverBestBatchingAt32",
      text: `bytes per window up and down, ours over ${name}, both with 32 windows of one sender`,
      ...atMost(SHARE_OF_BYTES, quotient(bothWays(ours.bytesAt32), best && bothWays(best.bytesAt32))),
    },
    {
      id: "bytesOverFewestAt32",
      text: "bytes per window up and down, ours over the fewest of any way of any peer, both with 32 windows of one sender",
      ...atMost(SHARE_OF_BYTES, quotient(bothWays(ours.bytesAt32), fewestBytesAt32(report))),
    },
    {
      id: "bytesOverBestBatchingFull",
      text: `bytes per window up and down, ours with 32 windows over ${name} with ${best?.windowsPerBatch ?? "its"} windows`,
      ...atMost(SHARE_OF_BYTES, quotient(bothWays(ours.bytesAt32), best && bothWays(best.bytes))),
    },
  ];
}

/** CPU per window of everybody: sender, service, receiver. */
function loopUs(way: Way): number {
  return median(way.encrypt) + serviceUs(way) + median(way.decrypt);
}

function fewestBytesAt32({ peers }: PeersReport): number | undefined {
  const ways = measuredWays(peers);
  return ways.length === 0 ? undefined : Math.min(...ways.map(({ way }) => bothWays(way.bytesAt32)));
}
