import { existsSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { PipelineError } from "@smile/errors/pipeline-error";
import {
  ReleaseDocument,
  type ReleaseRequest,
  ReleaseRequestDocument,
  signRelease,
  signRequest,
} from "@smile/plant-console/segments/release";
import { resultsOf } from "@smile/plant-console/segments/results";
import { showRelease, showRulesFor } from "@smile/plant-console/segments/show-release";
import { readDocument } from "@smile/runtime/document-file";
import { writeJsonFile } from "@smile/runtime/json-file";
import { publicHalf } from "@smile/schemas/ed25519";
import { Command, InvalidArgumentError, Option } from "commander";
import { shared } from "../options.ts";
import { plantOptions } from "../plant/plant-options.ts";
import { report } from "../plant/report.ts";
import { jobNamed, openConsoleDesk } from "./console-desk.ts";
import { consoleConfig } from "./console-options.ts";
import { makeSigningKey, openSigningKey } from "./signing-keys.ts";

const DAY_MS = 86_400_000;
const keyOption = () => new Option("--key <file>", "your key, made with `smile segment keys`").makeOptionMandatory();

type Json = { readonly json?: boolean };
type WithKey = Json & { readonly key: string; readonly passphraseFile?: string };

/** Commands by which results are asked for, released by somebody else, and shown. */
export function releaseCommands(signal: AbortSignal): Command[] {
  return [
    new Command("keys")
      .description(
        "Make your own key, as an analyst or as whoever releases: sealed by your passphrase; only its public half leaves the file",
      )
      .requiredOption("--out <file>", "where your key goes; nothing that is there is replaced")
      .addOption(new Option("--name <name>", "your name, or your body's, as reports show it").argParser(name).makeOptionMandatory())
      .addOption(plantOptions.passphraseFile())
      .addOption(shared.json())
      .addHelpText("after", '\nExample: smile segment keys --out council.key --name "Works council"')
      .action(async (options: Json & { out: string; name: string; passphraseFile?: string }) => {
        const made = await makeSigningKey(options.out, options.name, { ...options, signal });
        const next =
          "have whoever runs the console add that line to `analysts` or `releasers` of segment-console.json, compared by telephone";
        report(options.json, { ...made, key: options.out }, [`${options.out} holds your key`, JSON.stringify(made)], next);
      }),

    new Command("request")
      .description("Ask for a job's groups to be shown: signs what the results are and what for. Shows nothing of them")
      .argument("<job>", "the job's id")
      .addOption(consoleConfig())
      .requiredOption("--purpose <text>", "what for: whoever releases it decides by this, and it stands in the report")
      .addOption(
        new Option("--scope <scope>", "groups, or also who is in which by pseudonym").choices(["groups", "records"]).default("groups"),
      )
      .addOption(keyOption())
      .addOption(plantOptions.passphraseFile())
      .option("--head <id>", "which model's answers, where several answered")
      .option("--out <file>", "default: <job>.request.json")
      .addOption(shared.json())
      .addHelpText(
        "after",
        '\nExample: smile segment request JOB --config segment-console.json --key analyst.key --purpose "where training is missing"',
      )
      .action((jobId: string, options: RequestOptions) => request(jobId, options, signal)),

    new Command("release")
      .description(
        "Release exactly what a request asks for, with a key that is not the analyst's. Needs the request and your key, nothing else",
      )
      .argument("<request>", "the analyst's file")
      .addOption(keyOption())
      .addOption(plantOptions.passphraseFile())
      .option("--out <file>", "default: the request's name with .release.json")
      .option("--yes", "do not ask; for programs")
      .addOption(shared.json())
      .addHelpText("after", "\nExample: smile segment release JOB.request.json --key council.key")
      .action((file: string, options: ReleaseOptions) => release(file, options, signal)),

    new Command("report")
      .description(
        "Show what was released, as a page with plots and as CSV, once everything is checked; the same release shows the same again",
      )
      .argument("<job>", "the job's id")
      .addOption(consoleConfig())
      .requiredOption("--release <file>", "what came back from whoever released it")
      .requiredOption("--out <folder>", "where report.html and groups.csv go")
      .addOption(shared.json())
      .addHelpText("after", "\nExample: smile segment report JOB --config segment-console.json --release JOB.release.json --out report")
      .action(makeReport),
  ];
}

type RequestOptions = WithKey & { config: string; purpose: string; scope: "groups" | "records"; head?: string; out?: string };

async function request(jobId: string, options: RequestOptions, signal: AbortSignal): Promise<void> {
  using desk = openConsoleDesk(options.config);
  const { config, documents, jobs, audit, by } = desk;
  const job = jobNamed(desk, jobId, options.head);
  const rules = showRulesFor({ profiles: documents.profiles, minimum: config.minimum }, job.headId);
  const { results } = resultsOf(jobs, config.plant, job, rules);
  const { key } = await openSigningKey(options.key, { ...options, signal });
  const analyst = config.analysts.find(({ publicKey }) => publicKey === publicHalf(key))?.name;
  if (analyst === undefined)
    throw new PipelineError("SIGNATURE_INVALID", "your key is not among `analysts` of the console's configuration", {});
  const { purpose, scope } = options;
  const out = options.out ?? `${jobId}.request.json`;
  if (existsSync(out)) throw new PipelineError("CONFIG_INVALID", `${out} exists; it is not replaced`, { path: out });
  const asked = signRequest({ ...results, purpose: purpose.trim(), scope, requestedAtMs: Date.now() }, key);
  audit.append("release-requested", { jobId, purpose: asked.purpose, scope, by, analyst, people: results.people, groups: results.groups });
  writeJsonFile(out, ReleaseRequestDocument.parse(asked), 0o600);
  report(options.json, { ...results, purpose: asked.purpose, scope, out }, inWords(asked), `give ${out} to whoever releases it`);
}

type ReleaseOptions = WithKey & { yes?: boolean; out?: string };

async function release(file: string, options: ReleaseOptions, signal: AbortSignal): Promise<void> {
  const asked = readDocument(ReleaseRequestDocument, file, "request");
  const { key, owner } = await openSigningKey(options.key, { ...options, signal });
  if (!options.yes) await confirm([...inWords(asked), `You sign as ${owner}.`], signal);
  const out = options.out ?? `${file.replace(/(\.request)?\.json$/, "")}.release.json`;
  if (existsSync(out)) throw new PipelineError("CONFIG_INVALID", `${out} exists; it is not replaced`, { path: out });
  writeJsonFile(out, signRelease(asked, Date.now(), key), 0o600);
  const { jobId, purpose, scope } = asked;
  report(options.json, { jobId, purpose, scope, out }, [`released: ${out}`], `give ${out} back to the analyst`);
}

type ReportOptions = Json & { config: string; release: string; out: string };

async function makeReport(jobId: string, options: ReportOptions): Promise<void> {
  // The plots' library is loaded by nobody else.
  const { writeReport } = await import("@smile/plant-console/segments/write-report");
  const released = readDocument(ReleaseDocument, options.release, "release");
  if (released.request.jobId !== jobId)
    throw new PipelineError("SIGNATURE_INVALID", `${options.release} releases job ${released.request.jobId}, not ${jobId}`, { jobId });
  using desk = openConsoleDesk(options.config);
  const { config, documents, jobs, audit, by } = desk;
  const { plant, people, analysts, releasers, minimum } = config;
  const shown = showRelease(
    {
      ...{ plant, people, analysts, releasers, minimum, jobs, audit, by, ...documents },
      retentionMs: config.retentionDays * DAY_MS,
      nowMs: Date.now(),
    },
    released,
  );
  const files = writeReport(options.out, shown);
  const { facts } = shown;
  const lines = [
    ...facts.groups.map(({ name, people: size, words }) => `${name}: ${size} people; ${words || "close to the average in every column"}`),
    ...facts.withheld.map((withheld) => `${withheld}: withheld`),
    ...(facts.strangers > 0 ? ["nobody of an earlier release is in this one: were the pseudonyms' key replaced, it was not compared"] : []),
    ...files,
  ];
  const { people: total, groups, withheld, strangers } = facts;
  report(options.json, { jobId, people: total, groups: groups.length, withheld: withheld.length, strangers, files }, lines);
}

/** What a request asks for, in words. */
export function inWords({ plant, jobId, people, groups, withheld, minimum, scope, purpose, requestedAtMs }: ReleaseRequest): string[] {
  return [
    `job ${jobId} of ${plant}: ${people} people`,
    `would be shown: ${groups} ${groups === 1 ? "group" : "groups"} of at least ${minimum} people each${scope === "records" ? ", AND THE GROUP OF EACH PERSON, by pseudonym" : "; nobody's own group"}`,
    `would be withheld: ${withheld} ${withheld === 1 ? "segment" : "segments"}`,
    `purpose: ${printable(purpose)}`,
    `asked on ${new Date(requestedAtMs).toISOString().slice(0, 16).replace("T", " ")} UTC`,
  ];
}

/** The analyst's text on a terminal of somebody who decides by it: nothing in it moves the cursor or hides a line. */
const printable = (text: string) => text.replace(/\p{C}/gu, " ");

async function confirm(lines: readonly string[], signal: AbortSignal): Promise<void> {
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new PipelineError("CONFIG_INVALID", "nobody is here to be asked: read the request, and give --yes to release it", {});
  process.stderr.write(`${lines.join("\n")}\n`);
  const prompt = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await prompt.question("Release exactly this? Type yes: ", { signal }).finally(() => prompt.close());
  if (answer.trim() !== "yes") throw new PipelineError("CONFIG_INVALID", "it is not released", {});
}

function name(text: string): string {
  const trimmed = text.trim();
  if (trimmed.length >= 1 && trimmed.length <= 200) return trimmed;
  throw new InvalidArgumentError("It must have 1 to 200 characters.");
}
