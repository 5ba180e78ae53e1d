import { parentPort, workerData } from "node:worker_threads";
import { type SamplingRule, sampleTogether } from "../harness/sampling.ts";
import type { Shape } from "./encrypted-windows.ts";
import { openScoringSteps, type ShapeSamples } from "./scoring-steps.ts";

/** A thread of its own for one shape, as the service has one: what the compiler learned of another shape does not slow it down. */
const { shape, rule } = workerData as { shape: Shape; rule: SamplingRule };
using steps = await openScoringSteps(shape);
parentPort!.postMessage({ lanes: steps.lanes, samples: steps.derive(await sampleTogether(steps.cases, rule)) } satisfies ShapeSamples);
