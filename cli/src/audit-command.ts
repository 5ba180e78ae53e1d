import { isPipelineError } from "@smile/errors/pipeline-error";
import type { AuditEntry } from "@smile/runtime/audit-entry";
import { readAudit, verifyAudit } from "@smile/runtime/audit-log";
import { exitCodes } from "@smile/runtime/lifecycle";
import { Command, InvalidArgumentError, Option } from "commander";
import { shared } from "./options.ts";

/** `smile audit` */
export function auditCommand(): Command {
  const head = new Option("--head <hash>", "a head that was noted earlier: it must still be in the chain").argParser(hash);
  const since = new Option("--since <time>", "only entries from this time on, such as 2026-11-22 or 2026-11-22T08:00Z").argParser(time);
  return new Command("audit")
    .description("Check and read the audit logs of plants and services: what was done with keys, credentials, registers and deployments")
    .addCommand(
      new Command("verify")
        .description("Check that no entry was changed, removed, inserted or moved; print how many there are, and the newest one's hash")
        .argument("<file...>", "audit logs")
        .addOption(head)
        .addOption(shared.json())
        .addHelpText(
          "after",
          `
Note the head that is printed where those who write the log cannot reach it, and give it back with --head the next time: entries cut off
the end, or a log that was written anew, are found by that alone. Exit code 1 when a log is broken.`,
        )
        .action(verify),
    )
    .addCommand(
      new Command("show")
        .description("Print the entries, one per line, each checked before it is printed")
        .argument("<file>", "audit log")
        .addOption(since)
        .option("--json", "one JSON object per line, for programs")
        .action(show),
    );
}

type Verdict =
  | { readonly file: string; readonly sound: true; readonly entries: number; readonly head: string }
  | { readonly file: string; readonly sound: false; readonly sequence: number; readonly why: string };

function verify(files: readonly string[], { head, json }: { head?: string; json?: boolean }, command: Command): void {
  if (head !== undefined && files.length > 1) command.error("error: --head is the head of one log: give one file with it");
  const verdicts = files.map((file) => verdictOn(file, head));
  if (json) process.stdout.write(`${JSON.stringify({ logs: verdicts })}\n`);
  else for (const verdict of verdicts) process.stdout.write(`${inWords(verdict)}\n`);
  if (verdicts.some(({ sound }) => !sound)) process.exitCode = exitCodes.failed;
}

function verdictOn(file: string, head: string | undefined): Verdict {
  try {
    return { file, sound: true, ...verifyAudit(file, head === undefined ? {} : { head }) };
  } catch (error) {
    if (!isPipelineError(error, "AUDIT_BROKEN")) throw error;
    return { file, sound: false, sequence: Number(error.facts.sequence), why: error.message };
  }
}

function inWords(verdict: Verdict): string {
  if (!verdict.sound) return `BROKEN  ${verdict.why}`;
  const { file, entries, head } = verdict;
  return `sound   ${file}: ${entries} ${entries === 1 ? "entry" : "entries"}, head ${head}`;
}

function show(file: string, { since = 0, json }: { since?: number; json?: boolean }): void {
  for (const entry of readAudit(file)) {
    if (entry.atMs >= since) process.stdout.write(`${json ? JSON.stringify(entry) : lineOf(entry)}\n`);
  }
}

function lineOf({ sequence, atMs, actor, action, facts }: AuditEntry): string {
  const known = Object.entries(facts).map(([name, value]) => `${printable(name)}=${printable(String(value))}`);
  return [String(sequence).padStart(5), new Date(atMs).toISOString(), printable(actor), printable(action), ...known].join("  ");
}

/** Quoted unless it is one word: a name may hold what moves a terminal's cursor, or what looks like another fact. */
function printable(text: string): string {
  if (/^[\p{L}\p{N}\p{P}\p{S}]+$/u.test(text)) return text;
  return JSON.stringify(text).replace(/\p{C}/gu, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}

function hash(text: string): string {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new InvalidArgumentError("It must be 64 hexadecimal digits.");
  return text;
}

function time(text: string): number {
  const atMs = Date.parse(text);
  if (Number.isNaN(atMs)) throw new InvalidArgumentError("It must be a time such as 2026-11-22T08:00Z.");
  return atMs;
}
