import { PipelineError } from "@smile/errors/pipeline-error";
import type { z } from "zod";
import { readJsonFile } from "./json-file.ts";

/** Environment variables as `process.env` has them; only a `main.ts` reads that and passes it in. */
export type Environment = Readonly<Record<string, string | undefined>>;

type Fields = Record<string, unknown>;

/**
 * The configuration of a service: the schema's defaults, then the file, then the environment; the later one wins.
 * A variable's text is taken as it is where the schema takes text; elsewhere it is read as JSON (`8080`, `true`, `["a"]`), and for
 * an array also as a comma-separated list. An empty variable counts as not set.
 * @param source.schema a `z.strictObject`, so that unknown keys are refused; its sections too. A section that may be left out
 *   needs `.prefault({})`.
 * @param source.env the environment
 * @param source.envNames key path with dots -> variable, such as `{ "kafka.brokers": "KAFKA_BROKERS" }`
 * @param source.file path of a JSON file, or the object itself; absent means defaults and environment only
 * @throws PipelineError FILE_MISSING or FILE_DAMAGED naming the file; CONFIG_INVALID naming every wrong key and its variable
 */
export function loadConfig<Shape extends z.core.$ZodShape>(source: {
  schema: z.ZodObject<Shape, z.core.$strict>;
  env: Environment;
  envNames: Readonly<Record<string, string>>;
  file?: string | object | undefined;
}): z.output<z.ZodObject<Shape, z.core.$strict>> {
  const fields = structuredClone(typeof source.file === "string" ? readJsonObject(source.file) : ((source.file ?? {}) as Fields));
  const given = Object.entries(source.envNames).flatMap(([key, name]) => {
    const text = source.env[name];
    return text === undefined || text === "" ? [] : [{ path: key.split("."), text }];
  });
  for (const { path, text } of given) put(fields, path, text);

  const asText = source.schema.safeParse(fields);
  if (asText.success) return asText.data;
  for (const { path, text } of given) {
    const issue = asText.error.issues.find((each) => path.every((part, i) => each.path[i] === part));
    if (issue) put(fields, path, readAsJson(text, issue.code === "invalid_type" && issue.expected === "array"));
  }
  const asJson = source.schema.safeParse(fields);
  if (asJson.success) return asJson.data;

  const wrong = asJson.error.issues.flatMap((issue) => {
    if (issue.code !== "unrecognized_keys") return [{ key: issue.path.join("."), what: issue.message }];
    return issue.keys.map((key) => ({ key: [...issue.path, key].join("."), what: "unknown key" }));
  });
  const origin = typeof source.file === "string" ? ` in ${source.file} or the environment` : "";
  const named = wrong.map(({ key, what }) => {
    const variable = source.envNames[key];
    return `${key === "" ? "top level" : key}${variable === undefined ? "" : ` (env ${variable})`}: ${what}`;
  });
  throw new PipelineError("CONFIG_INVALID", `invalid configuration${origin}: ${named.join("; ")}`);
}

function readJsonObject(path: string): Fields {
  const parsed = readJsonFile(path, "configuration");
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) {
    throw new PipelineError("FILE_DAMAGED", `configuration file ${path} holds no JSON object`, { path });
  }
  return parsed as Fields;
}

function put(fields: Fields, path: readonly string[], value: unknown): void {
  const [head = "", ...rest] = path;
  if (rest.length === 0) {
    fields[head] = value;
    return;
  }
  const section = fields[head];
  const isSection = typeof section === "object" && section !== null && !Array.isArray(section);
  if (!isSection) fields[head] = {};
  put(fields[head] as Fields, rest, value);
}

function readAsJson(text: string, list: boolean): unknown {
  try {
    const parsed: unknown = JSON.parse(text);
    return list && !Array.isArray(parsed) ? [parsed] : parsed;
  } catch {
    return list ? text.split(",").map((each) => each.trim()) : text;
  }
}
