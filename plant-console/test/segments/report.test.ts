import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { groupsCsv, recordsCsv } from "../../src/segments/report-csv.ts";
import type { ReportFacts } from "../../src/segments/report-facts.ts";
import { reportHtml } from "../../src/segments/report-html.ts";
import { writeReport } from "../../src/segments/write-report.ts";
import { organisation, people } from "./fixture-organisation.ts";

const facts: ReportFacts = {
  ...{ plant: "essen", jobId: "spring", model: "survey", purpose: "training", scope: "records", analyst: "A", releaser: "B" },
  ...{ requestedAtMs: 0, releasedAtMs: 0, shownAtMs: 0, retentionEndsMs: 0, minimum: 10, people: 60 },
  groups: [
    { name: "one", joined: ["three"], people: 33, share: 0.55, words: "tenure is higher", centroid: [1.25, -0.5] },
    { name: "two", joined: [], people: 27, share: 0.45, words: "", centroid: [-1, 0.5] },
  ],
  withheld: [],
  featureNames: ["tenure", "training hours"],
  integrity: { records: 60, missing: 0, duplicated: 0, contradictions: 0 },
  earlier: { jobId: "winter", shownAtMs: 0, shares: [0.5, 0.5] },
  strangers: 0,
};

it("is one page that loads nothing, runs nothing, and is the same whenever it is made anew", () => {
  const page = reportHtml(facts);
  expect(page).toBe(reportHtml(facts));
  expect(page.match(/<svg/g)).toHaveLength(3);
  expect(page).not.toMatch(/<script|<link|<img|\bsrc=|@import|url\((?!#)|\bon\w+="/i);
  // Of addresses only the names of SVG's own vocabularies.
  expect(page.match(/https?:\/\/[^"]+/g)!.every((url) => url.startsWith("http://www.w3.org/"))).toBe(true);
  for (const word of ["tenure", "training hours", "with three, too small alone", "55.0 %", "1.3", "before", "winter"])
    expect(page).toContain(word);
});

it("leaves plots out for which nothing is there", () => {
  const bare = { ...facts, groups: facts.groups.map((group) => ({ ...group, centroid: null })), earlier: null, featureNames: [] };
  expect(reportHtml(bare).match(/<svg/g)).toHaveLength(1);
});

it("shows text as text, wherever it comes from", () => {
  const evil = `"><script>alert(1)</script>&{a|b}`;
  const page = reportHtml({
    ...facts,
    ...{
      plant: evil,
      jobId: evil,
      model: evil,
      purpose: evil,
      analyst: evil,
      releaser: evil,
      withheld: [evil],
      featureNames: [evil, evil],
    },
    groups: facts.groups.map((group) => ({ ...group, name: evil, joined: [evil], words: evil })),
    earlier: { ...facts.earlier!, jobId: evil },
  });
  expect(page).not.toContain("<script>");
  expect(page.match(/&lt;script&gt;/g)!.length).toBeGreaterThan(12);
});

it("writes CSV that a spreadsheet reads as text: quotes doubled, nothing that it would run", () => {
  const [one, two] = facts.groups;
  const csv = groupsCsv({
    groups: [
      { ...one!, name: '=HYPERLINK("x")', joined: [] },
      { ...two!, words: 'a "b", c' },
    ],
  });
  expect(csv.split("\r\n")).toEqual([
    "group,people,share,words",
    `"'=HYPERLINK(""x"")",33,0.5500,tenure is higher`,
    'two,27,0.4500,"a ""b"", c"',
    "",
  ]);
  const members = [BigUint64Array.of(9n), BigUint64Array.of(1n, 2n ** 64n - 1n), BigUint64Array.of()];
  expect([...recordsCsv(facts, members)].join("")).toBe(
    "pseudonym,group\r\n0000000000000001,one + three\r\nffffffffffffffff,one + three\r\n",
  );
});

it("is written for its owner alone, and tells who is in which group only where that was released", async () => {
  using own = organisation({ profiles: true });
  await own.run("spring", [people(1, 30), people(31, 20), people(51, 10)]);
  const [folder, other] = ["a", "b"].map((name) => join(own.folder, name));
  const files = writeReport(folder!, own.show("spring"));
  expect(files.map((path) => path.slice(folder!.length + 1))).toEqual(["report.html", "groups.csv"]);
  for (const path of files) expect(statSync(path).mode & 0o777).toBe(0o600);
  const each = writeReport(other!, own.show("spring", "records"));
  expect(readFileSync(each[2]!, "utf8").trim().split("\r\n")).toHaveLength(61);
});
