import type { AuditEntry } from "@smile/runtime/audit-entry";

/** One thing that was done with results about people. */
export type Access = { readonly atMs: number; readonly jobId: string | null; readonly words: string };

/** Actions of the audit log that tell who looked at what, and what became of it. */
const WORDS: Readonly<Record<string, (facts: AuditEntry["facts"], actor: string) => string>> = {
  "release-requested": ({ by, purpose, scope }) => `${by} asked for ${scope} to be shown, for: ${purpose}`,
  "release-granted": ({ releaser, purpose }) => `${releaser} released it, for: ${purpose}`,
  "report-shown": ({ by, analyst, releaser, purpose, scope, groups, people }) =>
    `${by} was shown ${groups} groups of ${people} people${scope === "records" ? " and who is in which" : ""}; asked by ${analyst}, released by ${releaser}, for: ${purpose}`,
  "release-refused": ({ by, code, purpose }) => `${by} was refused (${code}), for: ${purpose}`,
  "job-deleted": ({ by }) => `${by} deleted it`,
  "job-started": (_, actor) => `${actor} began it`,
  "job-ended": (_, actor) => `${actor} ended it`,
  "column-permitted": ({ column, reason }) => `a sensitive column was permitted: ${column}, because: ${reason}`,
  "retention-ended": ({ what }) => `its retention ended: ${what} deleted`,
};

/** Inverse transparency: what an audit log says of accesses to results about people, in its order. */
export function* accessesIn(entries: Iterable<AuditEntry>, jobId?: string): Generator<Access> {
  for (const { atMs, actor, action, facts } of entries) {
    const words = WORDS[action];
    const of = typeof facts.jobId === "string" ? facts.jobId : null;
    // A plant's keys have a retention, too.
    if (words === undefined || (action === "retention-ended" && !("retentionDays" in facts || "differencingDays" in facts))) continue;
    if (jobId === undefined || of === jobId) yield { atMs, jobId: of, words: words(facts, actor) };
  }
}
