import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openAuditLog, readAudit } from "@smile/runtime/audit-log";
import { peoplePath, writePeopleFile } from "@smile/runtime/people-file";
import { publicHalf } from "@smile/schemas/ed25519";
import type { SegmentCard, SegmentProfiles } from "@smile/schemas/record-documents";
import { JobStore } from "../../src/segments/job-store.ts";
import { type Release, type ReleaseRequest, signRelease, signRequest } from "../../src/segments/release.ts";
import { resultsOf } from "../../src/segments/results.ts";
import type { ReadSegments } from "../../src/segments/segment-reader.ts";
import { type Showing, showRelease, showRulesFor } from "../../src/segments/show-release.ts";

export const PLANT = "essen";
export const HEAD = "a".repeat(64);
const LANES = 8;
export const DAY_MS = 86_400_000;

const secret = () => generateKeyPairSync("ed25519").privateKey;
export const keys = { analyst: secret(), council: secret(), stranger: secret() };

/** Segments on a line, so that neighbours in number are nearest. */
export function profilesOf(names: readonly string[], words = "tenure is higher"): SegmentProfiles {
  const segments = names.map((name, k) => ({ name, words, centroid: [k, -k / 2] }));
  const ids = { headId: HEAD, featureSetId: "b".repeat(64) };
  return { kind: "segment-profiles", version: 1, ...ids, featureNames: ["tenure", "training hours"], segments };
}

/** Who is in which segment: people by number, a list per segment. */
export type Groups = readonly (readonly number[])[];
export const people = (from: number, count: number) => Array.from({ length: count }, (_, i) => from + i);

export type Organisation = Disposable & {
  readonly folder: string;
  readonly jobs: JobStore;
  readonly showing: Showing;
  /** A job whose every record is answered; less or more with `changes` to the scores of its frames. */
  run(jobId: string, groups: Groups, change?: (scores: ReadSegments[]) => ReadSegments[]): Promise<void>;
  ask(jobId: string, options?: { scope?: "groups" | "records"; key?: KeyObject }): ReleaseRequest;
  release(request: ReleaseRequest, key?: KeyObject): Release;
  /** Asks, releases and shows. */
  show(jobId: string, scope?: "groups" | "records"): ReturnType<typeof showRelease>;
  actions(): string[];
};

/** An organisation's console with nothing in it. */
export function organisation({ names = ["one", "two", "three"], profiles = false, more = {} as Partial<Showing> } = {}): Organisation {
  const folder = mkdtempSync(join(tmpdir(), "smile-organisation-"));
  const jobs = new JobStore({ path: join(folder, "jobs.db"), plant: PLANT });
  const audit = openAuditLog({ path: join(folder, "audit.db"), actor: "test" });
  const segments = names.map((name) => ({ name, words: "tenure is higher" }));
  const card: SegmentCard = {
    ...{ kind: "segment-card", version: 1, name: "survey", headId: HEAD, featureSetId: "b".repeat(64), segments },
    ...{ training: { data: "fixture", records: 100, metrics: {} }, codeVersion: "test" },
  };
  const showing: Showing = {
    ...{ plant: PLANT, jobs, audit, deployment: { cards: [card] }, profiles: profiles ? profilesOf(names) : null },
    people: join(folder, "people"),
    analysts: [{ name: "An Analyst", publicKey: publicHalf(keys.analyst) }],
    releasers: [{ name: "Works council", publicKey: publicHalf(keys.council) }],
    ...{ minimum: 10, retentionMs: 90 * DAY_MS, nowMs: 1_790_000_000_000, by: "somebody" },
    ...more,
  };
  const own: Organisation = {
    folder,
    jobs,
    showing,
    async run(jobId, groups, change = (scores) => scores) {
      // Records in the order of the people's numbers, as a file that is sorted by name.
      const all = groups.flatMap((group, segment) => group.map((person) => ({ person, segment }))).sort((a, b) => a.person - b.person);
      const pseudonyms = all.map(({ person }) => (BigInt(person) * 0x9e3779b97f4a7c15n) % 2n ** 64n);
      await writePeopleFile(peoplePath(showing.people, jobId), { jobId, records: all.length }, pseudonyms);
      const frameCount = Math.ceil(all.length / LANES);
      const scores = Array.from({ length: frameCount }, (_, sequence): ReadSegments => {
        const inFrame = all.slice(sequence * LANES, (sequence + 1) * LANES);
        const records = inFrame.map(({ segment }, lane) => ({ index: sequence * LANES + lane, segment }));
        const ids = { jobId, headId: HEAD, gateway: "records", epoch: 1 };
        return { ...ids, frameCount, lanes: LANES, segments: names.length, records, revokedRecords: 0 };
      });
      for (const score of change(scores)) jobs.store(score, showing.nowMs);
    },
    ask(jobId, { scope = "groups", key = keys.analyst } = {}) {
      const { results } = resultsOf(jobs, PLANT, { jobId, headId: HEAD }, showRulesFor(showing, HEAD));
      return signRequest({ ...results, scope, purpose: "where training is missing", requestedAtMs: showing.nowMs }, key);
    },
    release: (request, key = keys.council) => signRelease(request, showing.nowMs, key),
    show: (jobId, scope = "groups") => showRelease(showing, own.release(own.ask(jobId, { scope }))),
    actions: () => [...readAudit(join(folder, "audit.db"))].map(({ action }) => action),
    [Symbol.dispose]: () => {
      audit[Symbol.dispose]();
      jobs[Symbol.dispose]();
      rmSync(folder, { recursive: true, force: true });
    },
  };
  return own;
}
