import type { Chart } from "./chart.ts";
import { machineFacts, revisionOf } from "./machine.ts";
import type { BenchResult } from "./result.ts";
import type { SamplingRule } from "./sampling.ts";
import type { Suite, SuiteOptions } from "./suite.ts";

/** Runs a bench, and says on which machine and of which revision. */
export async function runSuite(
  suite: Suite,
  rule: SamplingRule,
  root: string,
  say: (line: string) => void,
  options: SuiteOptions = {},
): Promise<{ result: BenchResult; charts: readonly Chart[]; text?: string }> {
  const machine = machineFacts();
  const { charts, text, details, ...figures } = await suite.run(rule, say, options);
  const result: BenchResult = {
    kind: "bench-result",
    version: 1,
    bench: suite.name,
    takenAt: new Date().toISOString(),
    revision: revisionOf(root),
    machine,
    ...figures,
    ...(details !== undefined && { details: JSON.parse(JSON.stringify(details)) }),
  };
  return { result, charts, ...(text !== undefined && { text }) };
}
