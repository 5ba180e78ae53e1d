import { resolve } from "node:path";
import { type Environment, loadConfig } from "@smile/runtime/config";
import { ed25519Key } from "@smile/schemas/document-fields";
import { z } from "zod";
import { type ConsoleSources, consoleEnvNames, consoleShape, withSources } from "../console-sources.ts";
import { MINIMUM_PEOPLE } from "./release-rules.ts";

const path = z.string().min(1);
/** A person, and the public half of their key as `smile segment keys` prints it. */
const signers = z.array(z.strictObject({ name: z.string().trim().min(1).max(200), publicKey: ed25519Key })).max(100);

export const SegmentConsoleConfigSchema = z.strictObject({
  ...consoleShape,
  /** Who looked at what, besides the use of keys: nobody sees results without it. */
  audit: path,
  /** Folder of the people files, which the source of the records writes. */
  people: path,
  /** What `smile segment train` wrote for the organisation alone. */
  profiles: path.optional(),
  analysts: signers.default([]),
  releasers: signers.default([]),
  minimum: z.number().int().min(MINIMUM_PEOPLE).max(1_000_000).default(MINIMUM_PEOPLE),
  retentionDays: z.number().int().min(1).max(3650).default(90),
  differencingDays: z.number().int().min(1).max(36_500).default(365),
});
export type SegmentConsoleConfig = z.output<typeof SegmentConsoleConfigSchema> & ConsoleSources;

const envNames = { ...consoleEnvNames, people: "SMILE_PEOPLE", profiles: "SMILE_PROFILES" } as const;

/** @throws {PipelineError} CONFIG_INVALID, FILE_MISSING, FILE_DAMAGED */
export function loadSegmentConsoleConfig(file: string, env: Environment): SegmentConsoleConfig {
  const loaded = loadConfig({ schema: SegmentConsoleConfigSchema, env, envNames, file });
  const config = withSources(loaded, file);
  const from = (each: string) => resolve(config.folder, each);
  return {
    ...config,
    audit: from(loaded.audit),
    people: from(config.people),
    ...(config.profiles !== undefined && { profiles: from(config.profiles) }),
  };
}
