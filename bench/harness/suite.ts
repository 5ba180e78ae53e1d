import type { SuiteResult } from "./result.ts";
import type { SamplingRule } from "./sampling.ts";

/** What only some benches take. */
export type SuiteOptions = {
  /** Where `peers` installs other libraries; a folder in the user's cache by default. */
  readonly venvFolder?: string;
};

/** One bench: what it measures and how. */
export type Suite = {
  readonly name: string;
  readonly title: string;
  /** @param say where progress goes, a line at a time */
  readonly run: (rule: SamplingRule, say: (line: string) => void, options?: SuiteOptions) => Promise<SuiteResult>;
};
