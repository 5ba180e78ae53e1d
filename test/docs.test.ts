import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { auditCommand } from "@smile/cli/audit-command";
import { demoCommand } from "@smile/cli/demo-command";
import { kafkaCommand } from "@smile/cli/kafka-command";
import { serviceCommand } from "@smile/cli/operator/service-command";
import { plantCommand } from "@smile/cli/plant-command";
import { segmentCommand } from "@smile/cli/segment-command";
import { simulateCommand } from "@smile/cli/simulate-command";
import { trainCommand } from "@smile/cli/train-command";
import { edgeAgentCommand } from "@smile/edge-agent/command";
import { segmentScheduleCommand } from "@smile/edge-agent/jobs/schedule-command";
import { catalogue } from "@smile/errors/catalogue";
import { modelServiceCommand } from "@smile/model-service/command";
import { plantConsoleCommand } from "@smile/plant-console/command";
import { segmentConsoleCommand } from "@smile/plant-console/segments/command";
import { silentLogger } from "@smile/runtime/logging";
import { LOG_TOPICS } from "@smile/schemas/topics";
import { streamProcessorCommand } from "@smile/stream-processor/command";
import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { ROOT } from "./support/smile-process.ts";

/** What a document says of codes, keys and commands must be what the code says. */
const documents = globSync(["*.md", "*/README.md", "docs/**/*.md", "examples/**/*.md"], {
  cwd: ROOT,
  exclude: ["**/node_modules/**"],
}).sort();
const textOf = (path: string) => readFileSync(join(ROOT, path), "utf8");
const operations = textOf("docs/operations.md");

/** Cells of the table rows of a section that have a code span, the first cell bare. */
function rowsUnder(heading: string): string[][] {
  const section = operations.split(/^(?=#{2,3} )/m).find((text) => text.startsWith(`${heading}\n`)) ?? "";
  const rows = section.split("\n").filter((line) => line.startsWith("| ") && line.includes("`"));
  return rows.map((row) => {
    const [first, ...rest] = row
      .slice(1, -1)
      .split("|")
      .map((cell) => cell.trim());
    return [first!.replaceAll("`", ""), ...rest];
  });
}

it("operations.md has every error code, whether to try again, and its remedy", () => {
  const wanted = Object.entries(catalogue).map(([code, { retriable, fix }]) => [code, retriable ? "yes" : "no", fix]);
  expect(rowsUnder("## Error codes").toSorted()).toEqual(wanted.toSorted());
});

it("operations.md names every topic of the log", () => {
  const named = rowsUnder("## Topics").map(([, topic]) => topic!.replaceAll("`", ""));
  expect(named).toEqual(expect.arrayContaining(Object.values(LOG_TOPICS)));
});

type Configuration = { readonly schema: z.ZodObject; readonly envNames: Readonly<Record<string, string>> };
const loaded = vi.hoisted(() => ({ last: undefined as unknown }));
/** In the place of reading a file: takes note of what a service would read it by. */
vi.mock("@smile/runtime/config", () => ({
  loadConfig: (source: unknown) => {
    loaded.last = source;
    throw new Error("taken note of");
  },
}));

async function configurationOf(command: typeof edgeAgentCommand): Promise<Configuration> {
  const context = { configFile: "none.json", folder: ".", env: {}, logger: silentLogger, signal: new AbortController().signal, values: {} };
  await expect((async () => command.start(context))()).rejects.toThrow("taken note of");
  return loaded.last as Configuration;
}

type Json = {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Json>>;
  readonly required?: readonly string[];
  readonly items?: Json;
  readonly anyOf?: readonly Json[];
  readonly oneOf?: readonly Json[];
  readonly default?: unknown;
};
type Leaf = { readonly key: string; readonly fallback: string };

/** Every key of a configuration that a person can set, with what it is when nobody does. */
function leaves(schema: Json, key: string, required: boolean): Leaf[] {
  const variants = schema.oneOf ?? schema.anyOf;
  if (variants?.every(({ properties }) => properties !== undefined)) {
    return [
      ...Map.groupBy(
        variants.flatMap((each) => leaves(each, key, required)),
        (leaf) => leaf.key,
      ),
    ].map(([name, same]) => {
      const fallbacks = new Set(same.map(({ fallback }) => fallback));
      return { key: name, fallback: [...fallbacks].join(" or ") };
    });
  }
  if (schema.properties !== undefined) {
    const prefix = key === "" ? "" : `${key}.`;
    return Object.entries(schema.properties).flatMap(([name, each]) =>
      leaves(each, `${prefix}${name}`, schema.required?.includes(name) ?? false),
    );
  }
  if (schema.items?.properties !== undefined) return leaves(schema.items, `${key}[]`, required);
  const fallback = schema.default === undefined ? (required ? "required" : "none") : `\`${schema.default}\``;
  return [{ key, fallback }];
}

describe("configuration", () => {
  const commands = [
    streamProcessorCommand,
    modelServiceCommand,
    plantConsoleCommand,
    edgeAgentCommand,
    segmentScheduleCommand,
    segmentConsoleCommand,
  ];

  it.each(commands)("operations.md has every key of $name with its default and its variable", async (command) => {
    const { schema, envNames } = await configurationOf(command);
    const keys = leaves(z.toJSONSchema(schema, { io: "input" }) as Json, "", true);
    const wanted = keys.map(({ key, fallback }) => [key, fallback, envNames[key] === undefined ? "" : `\`${envNames[key]}\``]);
    const written = [...rowsUnder(`### ${command.name}`), ...rowsUnder("### Every service")].map((row) => row.slice(0, 3));
    expect(written.toSorted()).toEqual(wanted.toSorted());
    expect(Object.keys(envNames).filter((key) => !keys.some((leaf) => leaf.key === key))).toEqual([]);
  });

  it.each(commands)("the examples of $name's configuration in the documents are valid", async (command) => {
    const { schema } = await configurationOf(command);
    const fence = new RegExp(`^\`\`\`json ${command.name}\\n(.*?)^\`\`\``, "gms");
    const blocks = documents.flatMap((path) => Array.from(textOf(path).matchAll(fence), ([, json]) => ({ path, json: json! })));
    const wrong = blocks.flatMap(({ path, json }) =>
      (schema.safeParse(JSON.parse(json)).error?.issues ?? []).map((issue) => ({ path, issue })),
    );
    expect(wrong).toEqual([]);
  });
});

describe("commands in the documents", () => {
  type Call = { readonly path: string; readonly line: string; readonly words: readonly string[] };
  /** Calls of npm and of smile in the `sh` blocks, one by one: lines are joined at `\` and parted at pipes, `&&`, `;` and `&`. */
  const calls: Call[] = documents.flatMap((path) =>
    Array.from(textOf(path).matchAll(/^ *```sh\b[^\n]*\n(.*?)^ *```/gms), ([, block]) => block!.replaceAll("\\\n", " ").split("\n"))
      .flat()
      .flatMap((line) => line.split(/&&|\|\||[|;&]/).map((part) => ({ path, line, words: part.trim().split(/\s+/) })))
      .filter(({ words: [first, second] }) => first === "npm" || (first === "npx" && second === "smile")),
  );
  const { scripts } = JSON.parse(textOf("package.json")) as { scripts: Record<string, string> };

  /** The command of smile that a call runs, and what it passes to it; null for npm's own business. */
  function smileCall({ words }: Call): { command: string; args: readonly string[] } | null {
    if (words[0] === "npx") {
      const command = words.slice(2, 4).join(" ");
      if (help.has(command)) return { command, args: words.slice(4) };
      return { command: words[2] ?? "", args: words.slice(3) };
    }
    const separator = words.indexOf("--");
    if (words[1] !== "start" || separator < 0) return null;
    return { command: "demo", args: words.slice(separator + 1) };
  }

  /** What `--help` prints, by command. Services know theirs by name, summary, details and options; the rest are commander's. */
  const help = new Map<string, string>();
  const never = new AbortController().signal;
  for (const command of [demoCommand(never), trainCommand(), simulateCommand(never), kafkaCommand(never)])
    help.set(command.name(), command.helpInformation());
  for (const family of [plantCommand(never), serviceCommand(), auditCommand(), segmentCommand(never)])
    for (const command of family.commands) help.set(`${family.name()} ${command.name()}`, command.helpInformation());
  for (const { name, details, options = {} } of [edgeAgentCommand, streamProcessorCommand, modelServiceCommand, plantConsoleCommand])
    help.set(name, ["--config", ...Object.keys(options).map((option) => `--${option}`), details].join("\n"));

  it("there are some", () => expect(calls.length).toBeGreaterThan(15));

  it("name commands and scripts that exist", () => {
    const unknown = calls.filter((call) => {
      const own = smileCall(call);
      if (own !== null) return !help.has(own.command);
      const [, verb = "", script = ""] = call.words;
      if (verb === "run") return !(script in scripts);
      return !(["audit", "ci", "install"].includes(verb) || verb in scripts);
    });
    expect(unknown.map(({ path, line }) => `${path}: ${line}`)).toEqual([]);
  });

  it("use options that --help knows", () => {
    const wrong = calls.flatMap((call) => {
      const own = smileCall(call);
      const options = own?.args.filter((word) => word.startsWith("--")).map((word) => word.split("=")[0]!) ?? [];
      const text = help.get(own?.command ?? "") ?? "";
      return options
        .filter((option) => !new RegExp(`^ *${option}\\b(?!-)`, "m").test(text))
        .map((option) => `${call.path}: ${option} in ${call.line.trim()}`);
    });
    expect(wrong).toEqual([]);
  });
});

describe("links between documents", () => {
  /** The anchor that a heading has on GitHub. */
  const slug = (heading: string) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .trim()
      .replaceAll(" ", "-");

  it("lead to files and headings that exist", () => {
    const broken = documents.flatMap((path) => {
      const prose = textOf(path).replace(/^ *```.*?^ *```/gms, "");
      return Array.from(prose.matchAll(/\]\((?!\w+:)([^)\s]*)\)/g), ([, target]) => target!)
        .filter((target) => {
          const [file = "", anchor] = target.split("#");
          const found = file === "" ? path : join(dirname(path), file);
          if (!existsSync(join(ROOT, found))) return true;
          if (anchor === undefined) return false;
          return !Array.from(textOf(found).matchAll(/^#+ (.*)$/gm), ([, heading]) => slug(heading!)).includes(anchor);
        })
        .map((target) => `${path}: ${target}`);
    });
    expect(broken).toEqual([]);
  });
});
