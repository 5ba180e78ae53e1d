import type { Suite } from "./harness/suite.ts";
import { peersSuite } from "./peers/suite.ts";
import { bytes } from "./suites/bytes.ts";
import { edge } from "./suites/edge.ts";
import { endToEnd } from "./suites/end-to-end.ts";
import { jobs } from "./suites/jobs.ts";
import { scale } from "./suites/scale.ts";
import { scoring } from "./suites/scoring.ts";
import { soak } from "./suites/soak.ts";

/** Every bench there is, by name. A new one is a file in suites/ and a line here. */
export const SUITES: ReadonlyMap<string, Suite> = new Map(
  [scoring, edge, bytes, endToEnd, scale, soak, jobs, peersSuite].map((suite) => [suite.name, suite]),
);

/** What `check` compares with its stored baseline. */
export const CHECKED: readonly string[] = ["scoring", "bytes"];
