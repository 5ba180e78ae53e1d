import type { Members } from "./release-table.ts";
import type { ReportFacts } from "./report-facts.ts";

/** One line per group that is shown (RFC 4180): group, people, share in [0, 1], words. */
export function groupsCsv({ groups }: Pick<ReportFacts, "groups">): string {
  const nameOf = ({ name, joined }: ReportFacts["groups"][number]) => [name, ...joined].join(" + ");
  return lines([
    ["group", "people", "share", "words"],
    ...groups.map((group) => [nameOf(group), String(group.people), group.share.toFixed(4), group.words]),
  ]);
}

/** One line per person of the groups that are shown, by pseudonym in 16 hexadecimal digits, ascending within a group. */
export function* recordsCsv({ groups }: Pick<ReportFacts, "groups">, members: Members): Generator<string> {
  yield lines([["pseudonym", "group"]]);
  for (const [i, { name, joined }] of groups.entries()) {
    const group = [name, ...joined].join(" + ");
    for (const person of members[i + 1]!) yield lines([[person.toString(16).padStart(16, "0"), group]]);
  }
}

const lines = (rows: readonly (readonly string[])[]) => rows.map((fields) => `${fields.map(field).join(",")}\r\n`).join("");

/** Quoted where it has to be. A spreadsheet runs what begins like a formula: an apostrophe before it makes it text (OWASP, CSV Injection). */
function field(value: string): string {
  const harmless = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}
