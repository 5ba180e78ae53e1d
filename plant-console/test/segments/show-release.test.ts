import { renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { readAudit, verifyAudit } from "@smile/runtime/audit-log";
import { peoplePath } from "@smile/runtime/people-file";
import { publicHalf } from "@smile/schemas/ed25519";
import { expect, it } from "vitest";
import { accessesIn } from "../../src/segments/accesses.ts";
import { showRelease } from "../../src/segments/show-release.ts";
import { keys, organisation, people } from "./fixture-organisation.ts";

it("shows what was asked for and released, tells who asked, who released and what for, and records it", async () => {
  using own = organisation({ profiles: true });
  await own.run("spring", [people(1, 30), people(31, 20), people(51, 10)]);
  const { facts } = own.show("spring");
  expect(facts.groups.map(({ name, people: size }) => [name, size])).toEqual([
    ["one", 30],
    ["two", 20],
    ["three", 10],
  ]);
  expect(facts).toMatchObject({
    ...{ people: 60, withheld: [], analyst: "An Analyst", releaser: "Works council", purpose: "where training is missing" },
    integrity: { records: 60, missing: 0, duplicated: 0, contradictions: 0 },
    ...{ earlier: null, strangers: 0, scope: "groups" },
  });
  expect(own.actions()).toEqual(["release-granted", "report-shown"]);
  const [granted, access] = [...accessesIn(readAudit(join(own.folder, "audit.db")), "spring")];
  expect(granted!.words).toBe("Works council released it, for: where training is missing");
  expect(access!.words).toBe(
    "somebody was shown 3 groups of 60 people; asked by An Analyst, released by Works council, for: where training is missing",
  );
  expect(verifyAudit(join(own.folder, "audit.db")).entries).toBe(2);
});

it("shows the same again for the same release, also when answers or rules changed meanwhile, and tells of it", async () => {
  using own = organisation();
  await own.run("spring", [people(1, 30), people(31, 20), people(51, 10)]);
  const release = own.release(own.ask("spring", { scope: "records" }));
  const first = showRelease(own.showing, release);
  const again = showRelease({ ...own.showing, nowMs: own.showing.nowMs + 1000, minimum: 25 }, release);
  expect(again).toEqual(first);
  expect(own.actions()).toEqual(["release-granted", "report-shown", "report-shown"]);
});

it("joins small segments to the nearest group, and shows that group's own centre, never a mixture that tells how few joined", async () => {
  using own = organisation({ names: ["one", "two", "three", "four"], profiles: true });
  await own.run("spring", [people(1, 30), people(31, 3), people(41, 20), people(71, 9)]);
  const { facts, members } = own.show("spring");
  expect(facts.groups.map(({ name, joined, people: size, centroid }) => [name, joined, size, centroid])).toEqual([
    ["one", ["two"], 33, [0, -0]],
    ["three", ["four"], 29, [2, -1]],
  ]);
  expect(members.map(({ length }) => length)).toEqual([0, 33, 29]);
});

it("compares with the run before where that had the same groups, and tells of earlier releases with whom nobody is shared", async () => {
  using own = organisation();
  await own.run("spring", [people(1, 30), people(31, 20), people(51, 10)]);
  own.show("spring");
  await own.run("autumn", [people(1, 20), people(21, 30), people(51, 10)]);
  const { facts } = own.show("autumn");
  expect(facts.earlier).toMatchObject({ jobId: "spring", shares: [0.5, 1 / 3, 1 / 6] });
  expect(facts.strangers).toBe(0);
  await own.run("elsewhere", [people(1001, 30), people(1031, 20), people(1051, 10)]);
  expect(own.show("elsewhere").facts.strangers).toBe(2);
});

it("keeps what every group needs to be compared with later, and nothing of the order of the file", async () => {
  using own = organisation();
  await own.run("spring", [people(1, 30), people(31, 20), people(51, 10)]);
  const { members } = own.show("spring");
  for (const group of members) expect(group).toEqual(group.toSorted());
  expect(own.jobs.releases.members(own.jobs.releases.all()[0]!.releaseId)).toEqual(members);
});

it("refuses without the people file, or with one of another job or other records, and says what to do", async () => {
  using own = organisation();
  const groups = [people(1, 30), people(31, 20), people(51, 10)];
  await own.run("spring", groups);
  await own.run("autumn", groups);
  const release = own.release(own.ask("spring"));
  const refused = (code: string) => expect(() => showRelease(own.showing, release)).toThrow(expect.objectContaining({ code }));
  renameSync(peoplePath(own.showing.people, "autumn"), peoplePath(own.showing.people, "spring"));
  refused("FILE_DAMAGED");
  rmSync(peoplePath(own.showing.people, "spring"));
  expect(() => showRelease(own.showing, release)).toThrow(/copy it from the jobs' folder of whoever ran the job/);
  expect(own.actions()).toEqual(["release-refused", "release-refused"]);
  expect(own.jobs.releases.all()).toEqual([]);
});

it("lets nobody release but those who are pinned", async () => {
  using own = organisation();
  await own.run("spring", [people(1, 30), people(31, 20), people(51, 10)]);
  const release = own.release(own.ask("spring"), keys.stranger);
  const pinned = { name: "A new council", publicKey: publicHalf(keys.stranger) };
  expect(() => showRelease(own.showing, release)).toThrow(expect.objectContaining({ code: "SIGNATURE_INVALID" }));
  expect(showRelease({ ...own.showing, releasers: [pinned] }, release).facts.releaser).toBe("A new council");
});

it("is not shown by a check that another report overtook: of two at once one has to begin anew", async () => {
  using own = organisation();
  const groups = [people(1, 30), people(31, 20), people(51, 10)];
  await own.run("spring", groups);
  await own.run("autumn", [people(1, 29), people(31, 20), people(51, 10)]);
  const [spring, autumn] = ["spring", "autumn"].map((jobId) => own.release(own.ask(jobId)));
  // The other one is shown after this one was compared with what there was, and before it is recorded.
  const { jobs } = own;
  const overtaken = new Proxy(jobs, {
    get(target, property) {
      if (property === "exclusively") showRelease(own.showing, spring!);
      const found = Reflect.get(target, property, target);
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
  const attempt = () => showRelease({ ...own.showing, jobs: overtaken }, autumn!);
  expect(attempt).toThrow(expect.objectContaining({ code: "STORE_UNAVAILABLE" }));
  expect(() => showRelease(own.showing, autumn!)).toThrow(expect.objectContaining({ code: "RELEASE_DIFFERENCING" }));
});
