import { z } from "zod";
import { median, spreadOf } from "../harness/statistics.ts";

const samples = z.array(z.number().nonnegative()).min(1);
const bytes = z.object({ up: z.number(), down: z.number() });

const way = z.object({
  way: z.string(),
  parameters: z.record(z.string(), z.unknown()),
  /** Windows of one sender that are encrypted together, and that this way needs to have before it can begin. */
  windowsPerBatch: z.number().int().positive(),
  /** Sender's CPU per window, microseconds, bytes ready to send. */
  encrypt: samples,
  /** Service's CPU per window, microseconds, by step: from bytes to bytes. */
  service: z.record(z.string(), samples),
  /** What the service does apart from that, ahead of time. */
  apart: z.record(z.string(), samples).optional(),
  /** Receiver's CPU per window, microseconds, from bytes. */
  decrypt: samples,
  /** Serialised ciphertexts per window, batches full. */
  bytes,
  /** The same for a sender that has 32 windows. */
  bytesAt32: bytes,
  /** What the service has to be given once per key. */
  keyBytes: z.object({ public: z.number(), evaluation: z.number() }),
  /** Against the exact integer scores, in their units. */
  largestError: z.number().nonnegative(),
  largestScore: z.number(),
  /** CPU time over wall-clock time: above 1 with several threads, below it when other processes took turns. */
  coresBusy: z.number(),
});
/** One way of using a library, measured. */
export type Way = z.infer<typeof way>;

const failedWay = z.object({ way: z.string(), failed: z.string() });
const measured = z.object({
  peer: z.string(),
  version: z.string(),
  python: z.string().optional(),
  ways: z.array(z.union([way, failedWay])),
});
const missing = z.object({ peer: z.string(), missing: z.string() });
const peerRun = z.union([measured, missing]);
/** What came of one peer: its ways, each measured or failed with a reason, or why it could not be run at all. */
export type PeerRun = z.infer<typeof peerRun>;

const peersReport = z.object({ windows: z.number(), features: z.number(), ours: z.array(way), peers: z.array(peerRun) });
/** One run of everything on the same windows. */
export type PeersReport = z.infer<typeof peersReport>;

/** @throws {z.ZodError} when it is not what a peer's script writes */
export function parsePeerRun(text: string): PeerRun {
  return peerRun.parse(JSON.parse(text));
}

/** @throws {z.ZodError} */
export function parseReport(text: string): PeersReport {
  return peersReport.parse(JSON.parse(text));
}

/** A measured way and whose it is. */
export type PeerWay = { readonly peer: string; readonly way: Way };

export function measuredWays(peers: readonly PeerRun[]): PeerWay[] {
  return peers.flatMap((run) =>
    "ways" in run ? run.ways.flatMap((each) => ("failed" in each ? [] : [{ peer: run.peer, way: each }])) : [],
  );
}

/** Microseconds of CPU per window of the service, from bytes to bytes, round by round. */
export function serviceSamples({ service }: Way): number[] {
  const [first = [], ...rest] = Object.values(service);
  return first.map((us, round) => rest.reduce((sum, step) => sum + step[round]!, us));
}

export function serviceUs(each: Way): number {
  return median(serviceSamples(each));
}

/** Interquartile range over the median. */
export function relativeSpread(numbers: readonly number[]): number {
  const { median: middle, q1, q3 } = spreadOf(numbers);
  return middle > 0 ? (q3 - q1) / middle : 0;
}

/** Microseconds of CPU per window of what the service does ahead of time. */
export function apartUs({ apart = {} }: Way): number {
  return Object.values(apart).reduce((sum, step) => sum + median(step), 0);
}

/** Bytes per window, both directions. */
export function bothWays({ up, down }: Way["bytes"]): number {
  return up + down;
}
