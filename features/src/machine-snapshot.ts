import { hash } from "node:crypto";
import { PipelineError } from "@smile/errors/pipeline-error";
import type { LiftSpec } from "./check-feature-set.ts";
import { DegradationState } from "./degradation-lift.ts";
import type { MachineClock, MachineWindows } from "./machine-windows.ts";
import { packNumbers, unpackNumbers } from "./packed-numbers.ts";

/**
 * JSON-able state of one machine. Numbers are packed as base64 of little-endian binary64, so that a restart changes no bit.
 * `clock` is [watermarkMs, lastMs, nextEndMs]; null stands for "before all time".
 */
export type MachineSnapshot = {
  readonly version: 1;
  /** Hash of everything in the feature set that decides the state; the standardisation and what follows it may change. */
  readonly stateKey: string;
  readonly clock: readonly (number | null)[];
  readonly pendingTimes: string;
  readonly pendingSensors: string;
  readonly lift: string;
};

/** Names the lifts and window rules whose states are interchangeable. */
export function stateKey({ sensors, window, regimes, lift }: LiftSpec): string {
  const { lengthMs, hopMs, latenessMs } = window;
  const liftKey = lift.kind === "degradation" ? [lift.averages, lift.slopeRows, lift.baselineRows] : [lift.statistics];
  const regimeKey = regimes && [regimes.settings, regimes.scale, regimes.centroids, regimes.mean, regimes.deviation, regimes.clip];
  const text = JSON.stringify([sensors, lengthMs, hopMs, latenessMs, regimeKey, lift.kind, liftKey]);
  return hash("sha256", text).slice(0, 32);
}

/** @param key of the stream that the machine belongs to */
export function writeSnapshot(key: string, machine: MachineWindows): MachineSnapshot {
  const { clock, pending, lift } = machine;
  const orNull = (timeMs: number) => (Number.isFinite(timeMs) ? timeMs : null);
  return {
    version: 1,
    stateKey: key,
    clock: [orNull(clock.watermarkMs), orNull(clock.lastMs), orNull(clock.nextEndMs)],
    pendingTimes: packNumbers(pending.map((row) => row.timeMs)),
    pendingSensors: packNumbers(pending.flatMap((row) => [...row.sensors])),
    lift: packNumbers(lift.snapshot()),
  };
}

/** What a snapshot holds, checked. `numbers` restore the lift. */
export type ReadSnapshot = { clock: MachineClock; pending: { timeMs: number; sensors: Float64Array }[]; numbers: Float64Array };

/** @throws {PipelineError} DOCUMENT_INVALID naming the field that is damaged, or the version or lift that is another */
export function readSnapshot(key: string, spec: LiftSpec, snapshot: unknown): ReadSnapshot {
  const { version, stateKey: found, clock, pendingTimes, pendingSensors, lift } = (snapshot ?? {}) as Partial<MachineSnapshot>;
  if (version !== 1) refuse("version", "is not 1, the only one this release reads");
  if (found !== key) refuse("stateKey", "belongs to another feature set");
  if (!Array.isArray(clock) || clock.length !== 3 || !clock.every((time) => time === null || Number.isFinite(time)))
    refuse("clock", "is damaged");
  const [watermarkMs, lastMs, nextEndMs] = clock.map((time) => time ?? Number.NEGATIVE_INFINITY) as [number, number, number];
  const width = spec.sensors.length;
  const times = unpackNumbers(pendingTimes, packedLength(pendingTimes)) ?? refuse("pendingTimes", "is damaged");
  const sensors = unpackNumbers(pendingSensors, times.length * width) ?? refuse("pendingSensors", "is damaged");
  const pending = Array.from(times, (timeMs, n) => ({ timeMs, sensors: sensors.slice(n * width, (n + 1) * width) }));
  const degradation = spec.lift.kind === "degradation";
  const length = degradation ? DegradationState.snapshotLength(spec.lift, width) : packedLength(lift);
  const numbers = unpackNumbers(lift, length);
  const usable = degradation ? Number.isInteger(numbers?.[0]) && numbers![0]! >= 0 : length % (width + 1) === 0;
  if (!numbers || !usable) refuse("lift", "is damaged");
  return { clock: { watermarkMs, lastMs, nextEndMs }, pending, numbers };
}

function packedLength(text: unknown): number {
  return typeof text === "string" ? Buffer.byteLength(text, "base64") / 8 : Number.NaN;
}

function refuse(field: string, what: string): never {
  throw new PipelineError("DOCUMENT_INVALID", `machine snapshot: ${field} ${what}`, { field });
}
