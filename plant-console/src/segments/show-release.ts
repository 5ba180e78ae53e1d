import { existsSync } from "node:fs";
import { isPipelineError, PipelineError } from "@smile/errors/pipeline-error";
import type { AuditLog } from "@smile/runtime/audit-log";
import { peoplePath, readPeopleFile } from "@smile/runtime/people-file";
import { documentId } from "@smile/schemas/documents";
import { verifyingKey } from "@smile/schemas/ed25519";
import type { SegmentCard, SegmentDeployment, SegmentProfiles } from "@smile/schemas/record-documents";
import type { JobName, JobStore } from "./job-store.ts";
import { nearnessOf } from "./nearness.ts";
import { checkRelease, type Release } from "./release.ts";
import { isDifferencing } from "./release-rules.ts";
import { type Members, membershipOf } from "./release-table.ts";
import type { ReportFacts, ShownGroup } from "./report-facts.ts";
import { incomplete, type JobResults, resultsOf, type ShowRules } from "./results.ts";

/** Somebody who may ask for a release or make one, by their public key in base64. */
export type Signer = { readonly name: string; readonly publicKey: string };

/** What an organisation's console shows releases by. */
export type Showing = {
  readonly plant: string;
  readonly jobs: JobStore;
  readonly deployment: Pick<SegmentDeployment, "cards">;
  /** What the segments are like; without it small segments are withheld instead of joined, and a report has no profiles. */
  readonly profiles: SegmentProfiles | null;
  /** Folder of the people files. */
  readonly people: string;
  readonly analysts: readonly Signer[];
  readonly releasers: readonly Signer[];
  readonly minimum: number;
  readonly retentionMs: number;
  readonly audit: AuditLog;
  readonly nowMs: number;
  /** Who asks for the report at this computer, for the audit log. */
  readonly by: string;
};

export type Shown = { readonly facts: ReportFacts /** People by place: see `Members`. */; readonly members: Members };

/** What is in force for results by one head. */
export function showRulesFor({ profiles, minimum }: Pick<Showing, "profiles" | "minimum">, headId: string): ShowRules {
  return { minimum, nearness: profiles?.headId === headId ? nearnessOf(profiles) : [] };
}

/**
 * Shows what a release releases, once everything is checked: that the job is whole, that these are its results, both signatures, group
 * sizes, and every earlier release. In one transaction, which holds only if nothing of that changed meanwhile, it is then recorded as
 * shown, with who is in which group, for the releases that follow. The same release gives the same again. What is shown and what is
 * refused goes into the audit log before.
 * @throws {PipelineError} SIGNATURE_INVALID; JOB_INCOMPLETE; RECORDS_TOO_FEW; RELEASE_DIFFERENCING; FILE_MISSING for a job that was
 *   deleted or whose people file is not here; FILE_DAMAGED, CONFIG_INVALID for that file; STORE_UNAVAILABLE, also when another release
 *   was shown meanwhile
 */
export function showRelease(showing: Showing, release: Release): Shown {
  const { jobs, audit, by } = showing;
  const { jobId, purpose } = release.request;
  const releaseId = documentId(release);
  try {
    const signers = signersOf(showing, release);
    // Comparing a million people takes seconds: not in the transaction, which the console's service waits for.
    const compared = jobs.releases.all();
    const before = compared.find((each) => each.releaseId === releaseId);
    if (before !== undefined) {
      const again = shownAgain(showing, releaseId, before.shown);
      noteShown(showing, release, again);
      return again;
    }
    const shown = firstShown(showing, release, signers);
    jobs.exclusively(() => {
      if (jobs.releases.all().at(-1)?.releaseId !== compared.at(-1)?.releaseId)
        throw new PipelineError("STORE_UNAVAILABLE", "another report was made meanwhile; make this one once more", { jobId });
      const name = { jobId, headId: release.request.headId };
      if (jobs.resultsHash(name) !== release.request.resultsHash) throw incomplete(jobId, "its results changed meanwhile");
      noteGranted(showing, release);
      noteShown(showing, release, shown);
      jobs.releases.add({ ...name, releaseId, atMs: showing.nowMs, shown: JSON.stringify(shown.facts) }, shown.members);
    });
    return shown;
  } catch (error) {
    if (isPipelineError(error) && !error.retriable) audit.append("release-refused", { jobId, releaseId, purpose, by, code: error.code });
    throw error;
  }
}

function noteGranted(showing: Showing, release: Release): void {
  const { request, releaser: releaserKey, releasedAtMs } = release;
  const { jobId, purpose, scope } = request;
  const { releaser } = signersOf(showing, release);
  const facts = { jobId, releaseId: documentId(release), purpose, scope, releaser, releaserKey, releasedAtMs };
  showing.audit.append("release-granted", facts);
}

function noteShown(showing: Showing, release: Release, { facts: { groups, people } }: Shown): void {
  const { jobId, purpose, scope, analyst: analystKey } = release.request;
  const who = { by: showing.by, ...signersOf(showing, release), analystKey, releaserKey: release.releaser };
  showing.audit.append("report-shown", { jobId, releaseId: documentId(release), purpose, scope, ...who, groups: groups.length, people });
}

/** Names of the two who signed. The signatures themselves are checked against the results, or were when it was shown first. */
function signersOf({ analysts, releasers }: Showing, { request, releaser }: Release): { analyst: string; releaser: string } {
  const nameOf = (signers: readonly Signer[], key: string) => signers.find(({ publicKey }) => publicKey === key)?.name ?? "not pinned";
  return { analyst: nameOf(analysts, request.analyst), releaser: nameOf(releasers, releaser) };
}

/** Its id is over all of it, signatures too: it is the very document that was checked before. */
function shownAgain({ jobs }: Showing, releaseId: string, shown: string | null): Shown {
  if (shown === null) throw new PipelineError("FILE_MISSING", "what this release showed was deleted with its job", { releaseId });
  return { facts: JSON.parse(shown) as ReportFacts, members: jobs.releases.members(releaseId)! };
}

function firstShown(showing: Showing, release: Release, signers: { analyst: string; releaser: string }): Shown {
  const { jobs, plant, deployment, profiles, minimum, retentionMs, nowMs } = showing;
  const { jobId, headId, purpose, scope, requestedAtMs } = release.request;
  const card = deployment.cards.find((each) => each.headId === headId);
  if (card === undefined) throw new PipelineError("DOCUMENT_INVALID", "headId of the release is of no card of the deployment", { headId });
  const name = { jobId, headId };
  const found = resultsOf(jobs, plant, name, showRulesFor(showing, headId));
  const keysOf = (all: readonly Signer[]) => all.map(({ publicKey }) => verifyingKey(publicKey));
  checkRelease(release, found.results, { analysts: keysOf(showing.analysts), releasers: keysOf(showing.releasers) });
  const members = membersOf(showing, name, found);
  const strangers = checkAgainstEarlier(showing, members);
  const groups = shownGroups(card, profiles?.headId === headId ? profiles : null, found);
  const { duplicated, atMs } = jobs.state(name)!;
  const facts: ReportFacts = {
    ...{ plant, jobId, model: card.name, purpose, scope, ...signers },
    ...{ requestedAtMs, releasedAtMs: release.releasedAtMs, shownAtMs: nowMs, retentionEndsMs: atMs + retentionMs },
    ...{ minimum, people: found.results.people, groups },
    withheld: found.withheld.map((segment) => card.segments[segment]!.name),
    featureNames: profiles?.headId === headId ? profiles.featureNames : [],
    integrity: { records: found.results.people, missing: 0, duplicated, contradictions: 0 },
    earlier: earlierOf(jobs, name, groups),
    strangers,
  };
  return { facts, members };
}

/** Who is in which group, by pseudonym. Sorted, so that the order of the file, which names people, is not kept. */
function membersOf({ jobs, people }: Showing, name: JobName, { groups }: JobResults): BigUint64Array[] {
  const { jobId } = name;
  const path = peoplePath(people, jobId);
  if (!existsSync(path)) {
    const what = `people: ${path} is not there, and without it nobody can tell whether an earlier release forbids this one; copy it from the jobs' folder of whoever ran the job`;
    throw new PipelineError("FILE_MISSING", what, { path });
  }
  const { jobId: written, pseudonyms } = readPeopleFile(path);
  if (written !== jobId) throw new PipelineError("FILE_DAMAGED", `${path} is of job ${written}, not ${jobId}`, { path });
  const { records } = jobs.state(name)!;
  if (records !== pseudonyms.length)
    throw incomplete(jobId, `${records} of its ${pseudonyms.length} records are answered`, { records, people: pseudonyms.length });
  const placeOf = new Map(groups.flatMap((segments, i) => segments.map((segment) => [segment, i + 1])));
  const places: bigint[][] = Array.from({ length: groups.length + 1 }, () => []);
  for (const { index, segment } of jobs.assignments(name)) {
    const person = pseudonyms[index];
    if (person === undefined) throw incomplete(jobId, "a record beyond its last one was answered", { index });
    places[placeOf.get(segment) ?? 0]!.push(person);
  }
  return places.map((each) => BigUint64Array.from(each).sort());
}

/** @returns how many earlier releases share nobody with this one */
function checkAgainstEarlier({ jobs, minimum }: Showing, members: Members): number {
  const release = membershipOf(members);
  let strangers = 0;
  for (const { releaseId, membership } of jobs.releases.memberships()) {
    if (isDifferencing({ earlier: [membership], release, minimum })) {
      const what = "together with a release that was shown before, this one would tell about fewer people than the smallest group has";
      throw new PipelineError("RELEASE_DIFFERENCING", what, { earlier: releaseId, minimum });
    }
    if (membership.everyone.isDisjointFrom(release.everyone)) strangers++;
  }
  return strangers;
}

function shownGroups(card: SegmentCard, profiles: SegmentProfiles | null, { groups, sizes, results }: JobResults): ShownGroup[] {
  return groups.map((segments) => {
    const people = segments.reduce((sum, segment) => sum + sizes[segment]!, 0);
    // Only small ones join, so one alone reaches the minimum.
    const own = segments.find((segment) => sizes[segment]! >= results.minimum)!;
    const profile = profiles?.segments[own];
    const { name, words } = profile ?? card.segments[own]!;
    const joined = segments.filter((segment) => segment !== own).map((segment) => card.segments[segment]!.name);
    return { name, joined, people, share: people / results.people, words, centroid: profile?.centroid ?? null };
  });
}

/** The newest release of another job by the same head, if it had the same groups. */
function earlierOf(jobs: JobStore, { jobId, headId }: JobName, groups: readonly ShownGroup[]): ReportFacts["earlier"] {
  const before = jobs.releases.all().findLast((each) => each.headId === headId && each.jobId !== jobId && each.shown !== null);
  if (before === undefined) return null;
  const facts = JSON.parse(before.shown!) as ReportFacts;
  const namesOf = (all: readonly ShownGroup[]) => JSON.stringify(all.map(({ name, joined }) => [name, joined]));
  if (namesOf(facts.groups) !== namesOf(groups)) return null;
  return { jobId: before.jobId, shownAtMs: before.atMs, shares: facts.groups.map(({ share }) => share) };
}
