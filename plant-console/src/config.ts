import { resolve } from "node:path";
import { type Environment, loadConfig } from "@smile/runtime/config";
import { readDocument } from "@smile/runtime/document-file";
import { type Lease, LeaseDocument } from "@smile/schemas/documents";
import { z } from "zod";
import { type ConsoleSources, consoleEnvNames, consoleShape, withSources } from "./console-sources.ts";

export const ConsoleConfigSchema = z.strictObject({
  ...consoleShape,
  /** The leases themselves, or the path of a JSON file with an array of them. */
  leases: z.union([z.string().min(1), z.array(LeaseDocument)]),
  batch: z
    .strictObject({
      deliveries: z.number().int().min(1).max(4096).default(64),
      /** A flush of the disk costs as much for one delivery as for twenty; no alert needs to be sooner by so little. */
      waitMs: z.number().int().min(0).max(10_000).default(20),
    })
    .prefault({}),
  retainRisks: z.number().int().min(1000).default(1_000_000),
});
export type ConsoleConfig = z.output<typeof ConsoleConfigSchema> & ConsoleSources;

const envNames = { ...consoleEnvNames, leases: "SMILE_LEASES" } as const;

/** @throws {PipelineError} CONFIG_INVALID, FILE_MISSING, FILE_DAMAGED */
export function loadConsoleConfig(file: string, env: Environment): ConsoleConfig {
  const config = withSources(loadConfig({ schema: ConsoleConfigSchema, env, envNames, file }), file);
  const { leases, folder } = config;
  return { ...config, leases: typeof leases === "string" ? resolve(folder, leases) : leases };
}

/** @throws {PipelineError} FILE_MISSING, FILE_DAMAGED, DOCUMENT_INVALID, each naming the file */
export function readLeases(leases: ConsoleConfig["leases"]): readonly Lease[] {
  return typeof leases === "string" ? readDocument(z.array(LeaseDocument), leases, "leases") : leases;
}
