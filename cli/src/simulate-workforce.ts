import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { workforceCsv } from "@smile/simulators/workforce/workforce-csv";
import { workforceMapping } from "@smile/simulators/workforce/workforce-mapping";

export type SimulatedWorkforce = {
  readonly employees: number;
  readonly seed: number;
  readonly period: number;
  readonly truth: boolean;
};

/** Writes simulated people to standard output as CSV with a header. */
export async function simulateWorkforce(workforce: SimulatedWorkforce, signal: AbortSignal): Promise<void> {
  await pipeline(Readable.from(workforceCsv(workforce)), process.stdout, { end: false, signal });
}

/** Writes the mapping of a simulated workforce's columns. */
export function printWorkforceMapping(): void {
  process.stdout.write(`${JSON.stringify(workforceMapping, null, 2)}\n`);
}
