import type { KeyMode } from "@smile/he/params";
import { calibrationOf, type Measurement, type SuiteResult, timed } from "../harness/result.ts";
import { type Samples, sampleTogether } from "../harness/sampling.ts";
import { median } from "../harness/statistics.ts";
import type { Suite } from "../harness/suite.ts";
import { EDGE_FEATURE_SETS } from "./edge-features.ts";
import { EDGE_STEPS, openEdgeSteps } from "./edge-steps.ts";

const KEY_MODES: readonly KeyMode[] = ["symmetric", "public"];

/** What a gateway spends on a window, from its rows to the frame that is durable in the spool. */
export const edge: Suite = {
  name: "edge",
  title: "Edge: a gateway's work per window, on one core",
  async run(rule, say): Promise<SuiteResult> {
    const measurements: Measurement[] = [];
    const series = new Map<string, number[]>(EDGE_STEPS.map((step) => [step, []]));
    const categories: string[] = [];
    const everything: Samples[] = [];
    const headline: Record<string, number> = {};
    for (const keyMode of KEY_MODES) {
      for (const features of EDGE_FEATURE_SETS) {
        const name = `${keyMode}/${features.featureSet.name}, F=${features.featureCount}`;
        say(name);
        using steps = await openEdgeSteps(features, keyMode);
        const samples = steps.derive(await sampleTogether(steps.cases, rule));
        everything.push(...samples.values());
        categories.push(name);
        for (const [step, each] of samples)
          measurements.push(timed(`${name}/${step}`, step === "whole frame" ? "us/frame" : "us/window", each));
        for (const [step, values] of series) values.push(median(samples.get(step)!.us));
        if (categories.length > 1) continue;
        headline.usPerWindow = median(samples.get("whole window")!.us);
        headline.lanes = steps.lanes;
      }
    }
    return {
      headline,
      measurements,
      calibrationUs: calibrationOf(everything),
      charts: [
        {
          title: "Work per window, by step",
          unit: "us/window",
          categories,
          series: [...series].map(([step, values]) => ({ name: step, values })),
          stacked: true,
        },
      ],
    };
  },
};
