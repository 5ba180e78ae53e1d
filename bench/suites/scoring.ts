import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { calibrationOf, type Measurement, type SuiteResult, timed } from "../harness/result.ts";
import { dividedBy, type Samples, type SamplingRule } from "../harness/sampling.ts";
import { median } from "../harness/statistics.ts";
import type { Suite } from "../harness/suite.ts";
import type { Shape } from "./encrypted-windows.ts";
import { SCORING_STEPS, type ShapeSamples } from "./scoring-steps.ts";
import { workersSpeedup } from "./workers-speedup.ts";

const FEATURE_COUNTS = [16, 64, 256, 1024];
const SHAPES: readonly Shape[] = (["symmetric", "public"] as const).flatMap((keyMode) =>
  FEATURE_COUNTS.map((featureCount) => ({ featureCount, keyMode })),
);
/** The shape that the headline is about: 32 lanes. */
const HEADLINE: Shape = { featureCount: 64, keyMode: "symmetric" };

/** What the service does with a frame on one thread, step by step, and what a second thread brings. */
export const scoring: Suite = {
  name: "scoring",
  title: "Scoring: the service's work per frame, in one worker",
  async run(rule, say): Promise<SuiteResult> {
    const measurements: Measurement[] = [];
    const series = new Map<string, number[]>(SCORING_STEPS.map((step) => [step, []]));
    const everything: Samples[] = [];
    const headline: Record<string, number> = {};
    for (const shape of SHAPES) {
      const name = nameOf(shape);
      say(name);
      const { lanes, samples } = await measureShape(shape, rule);
      everything.push(...samples.values());
      for (const [step, each] of samples) measurements.push(timed(`${name}/${step}`, "us/frame", each));
      for (const [step, values] of series) values.push(median(samples.get(step)!.us));
      const perWindow = dividedBy(samples.get("frame")!, lanes);
      const withSanitiser = dividedBy(samples.get("frame, sanitised")!, lanes);
      measurements.push(
        timed(`${name}/window`, "us/window", perWindow),
        timed(`${name}/window with sanitiser`, "us/window", withSanitiser),
      );
      if (name !== nameOf(HEADLINE)) continue;
      headline.usPerWindow = median(perWindow.us);
      headline.usPerWindowWithSanitiser = median(withSanitiser.us);
      headline.lanes = lanes;
    }
    say("workers");
    const speedup = await workersSpeedup(HEADLINE, rule);
    everything.push(...speedup.samples.values());
    for (const [threads, samples] of speedup.samples) measurements.push(timed(`pool/${threads}`, "us/frame", samples));
    headline.workersSpeedup = speedup.speedup;
    return {
      headline,
      measurements,
      calibrationUs: calibrationOf(everything),
      charts: [
        {
          title: "Work per frame, one output, by step",
          unit: "us/frame",
          categories: SHAPES.map(nameOf),
          series: [...series].map(([step, values]) => ({ name: step, values })),
          stacked: true,
        },
      ],
    };
  },
};

const nameOf = ({ keyMode, featureCount }: Shape) => `${keyMode}/F=${featureCount}`;

/** @throws whatever ended the thread */
async function measureShape(shape: Shape, rule: SamplingRule): Promise<ShapeSamples> {
  const worker = new Worker(new URL("./scoring-worker.ts", import.meta.url), { workerData: { shape, rule } });
  const [found] = (await once(worker, "message")) as [ShapeSamples];
  await worker.terminate();
  return found;
}
