import type { SuiteResult } from "./result.ts";
import type { SamplingRule } from "./sampling.ts";

/** One bench: what it measures and how. */
export type Suite = {
  readonly name: string;
  readonly title: string;
  /** @param say where progress goes, a line at a time */
  readonly run: (rule: SamplingRule, say: (line: string) => void) => Promise<SuiteResult>;
};
