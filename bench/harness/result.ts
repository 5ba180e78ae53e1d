import { readFileSync } from "node:fs";
import { PipelineError } from "@smile/errors/pipeline-error";
import { z } from "zod";
import type { Chart } from "./chart.ts";
import type { Samples } from "./sampling.ts";
import { median, spreadOf } from "./statistics.ts";

const measurement = z.object({
  name: z.string(),
  /** What `median` counts: "us/frame", "B/window". Less is better. */
  unit: z.string(),
  /** `exact` for what does not vary, such as bytes. */
  clock: z.enum(["cpu", "wall", "exact"]),
  median: z.number(),
  q1: z.number(),
  q3: z.number(),
  mad: z.number(),
  samples: z.number().int().positive(),
  /** A step of something that is measured as a whole, or a difference of two times: shown, and not judged. */
  isPart: z.boolean(),
  /** Median, over the rounds, of the sample as a multiple of the calibration loop of its round; null for what is exact. */
  calibrated: z.number().nullable(),
  /** Interquartile range of that, as a share of it: how much of a change may be chance. */
  calibratedSpread: z.number(),
});
export type Measurement = z.infer<typeof measurement>;

const benchResult = z.object({
  kind: z.literal("bench-result"),
  version: z.literal(1),
  bench: z.string(),
  takenAt: z.iso.datetime(),
  revision: z.object({ commit: z.string().nullable(), changed: z.boolean() }),
  machine: z.object({
    cpu: z.string(),
    cores: z.number(),
    memoryMb: z.number(),
    os: z.string(),
    node: z.string(),
    /** Load average over the last minute when the run began: at 0 the machine was quiet. */
    load: z.number(),
  }),
  /** Microseconds that the calibration loop took on this machine. */
  calibrationUs: z.number(),
  headline: z.record(z.string(), z.number()),
  measurements: z.array(measurement),
  /** What a bench tells beside its figures, such as versions and parameters. */
  details: z.json().optional(),
});
/** A run of one bench, as it is stored and compared. */
export type BenchResult = z.infer<typeof benchResult>;
export type Machine = BenchResult["machine"];
export type Revision = BenchResult["revision"];

/** What a suite gives back; the harness adds when, where and of which revision. */
export type SuiteResult = Pick<BenchResult, "headline" | "measurements" | "calibrationUs"> & {
  readonly charts: readonly Chart[];
  /** JSON. */
  readonly details?: unknown;
  /** A table of its own, printed before the figures. */
  readonly text?: string;
};

/** @param unit of `samples`, which count microseconds: "us/frame", "us/window" */
export function timed(name: string, unit: string, samples: Samples): Measurement {
  const calibrated = spreadOf(samples.us.map((us, i) => us / samples.calibrationUs[i]!));
  return {
    name,
    unit,
    clock: samples.clock,
    ...spreadOf(samples.us),
    samples: samples.us.length,
    isPart: samples.isPart,
    calibrated: calibrated.median,
    calibratedSpread: calibrated.median > 0 ? (calibrated.q3 - calibrated.q1) / calibrated.median : 0,
  };
}

/** A figure that does not vary between runs. */
export function exact(name: string, unit: string, value: number): Measurement {
  const figures = { median: value, q1: value, q3: value, mad: 0, samples: 1, isPart: false, calibrated: null, calibratedSpread: 0 };
  return { name, unit, clock: "exact", ...figures };
}

/** What the calibration loop took, over all rounds of a suite; 0 when nothing was timed. */
export function calibrationOf(samples: Iterable<Samples>): number {
  const all = [...samples].flatMap(({ calibrationUs }) => calibrationUs);
  return all.length === 0 ? 0 : median(all);
}

/**
 * @param name for the error: a path, or the command whose output this is
 * @throws {PipelineError} FILE_DAMAGED
 */
export function parseResult(text: string, name: string): BenchResult {
  try {
    return benchResult.parse(JSON.parse(text));
  } catch (error) {
    throw new PipelineError("FILE_DAMAGED", `${name} holds no result of a bench`, { path: name }, error);
  }
}

/** @throws {PipelineError} FILE_MISSING, FILE_DAMAGED */
export function readResult(path: string): BenchResult {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new PipelineError("FILE_MISSING", `there is no result at ${path}`, { path }, error);
  }
  return parseResult(text, path);
}
