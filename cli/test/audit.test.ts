import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { openAuditLog } from "@smile/runtime/audit-log";
import { expect, it } from "vitest";
import { temporaryFolder } from "../../test/support/small-deployment.ts";
import { smile } from "../../test/support/smile-process.ts";

const NOW = Date.parse("2026-11-22T08:00:00Z");
const HOUR_MS = 3_600_000;

/** A log of three entries, an hour apart. */
function threeEntries(path: string): { readonly heads: string[] } {
  let atMs = NOW;
  using audit = openAuditLog({ path, actor: "smile plant north", clock: () => atMs });
  const heads: string[] = [];
  for (const [action, facts] of [
    ["key-made", { keyEpoch: 1, plant: "north" }],
    ["gateway-added", { gateway: "g\u001b[2K1\u009b", lanes: 24 }],
    ["register-exported", { serial: 1, first: true }],
  ] as const) {
    audit.append(action, facts);
    heads.push(audit.head());
    atMs += HOUR_MS;
  }
  return { heads };
}

function cutTo(path: string, entries: number): void {
  using file = new DatabaseSync(path);
  file.exec(`DROP TRIGGER entries_last; DELETE FROM entries WHERE sequence > ${entries}`);
}

it("verify tells how many entries a log has and its head, for people and for programs", async () => {
  using folder = temporaryFolder();
  const [one, two] = ["one.db", "two.db"].map((name) => join(folder.path, name)) as [string, string];
  const { heads } = threeEntries(one);
  threeEntries(two);
  const [words, json] = await Promise.all([
    smile(["audit", "verify", one, two]),
    smile(["audit", "verify", one, "--json", "--head", heads[0]!]),
  ]);
  expect(words).toMatchObject({ code: 0, stderr: "" });
  expect(words.stdout).toBe(`sound   ${one}: 3 entries, head ${heads[2]}\nsound   ${two}: 3 entries, head ${heads[2]}\n`);
  expect(json.code).toBe(0);
  expect(JSON.parse(json.stdout)).toEqual({ logs: [{ file: one, sound: true, entries: 3, head: heads[2] }] });
});

it("verify ends with 1 when a log is broken or a noted head is gone, and says where; the other logs are still told", async () => {
  using folder = temporaryFolder();
  const [sound, changed, cut] = ["sound.db", "changed.db", "cut.db"].map((name) => join(folder.path, name)) as [string, string, string];
  threeEntries(sound);
  threeEntries(changed);
  const { heads } = threeEntries(cut);
  {
    using file = new DatabaseSync(changed);
    file.exec("DROP TRIGGER entries_stay; UPDATE entries SET body = replace(body, '24', '25') WHERE sequence = 2");
  }
  cutTo(cut, 1);
  const [all, json, noted] = await Promise.all([
    smile(["audit", "verify", changed, sound]),
    smile(["audit", "verify", changed, "--json"]),
    smile(["audit", "verify", cut, "--head", heads[2]!]),
  ]);
  expect(all).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^BROKEN {2}.*changed\.db: entry 2 was changed.*\nsound .*sound\.db/),
  });
  expect(json.code).toBe(1);
  expect(JSON.parse(json.stdout)).toMatchObject({ logs: [{ file: changed, sound: false, sequence: 2 }] });
  expect(noted).toMatchObject({ code: 1, stdout: expect.stringContaining("cut off behind entry 1") });
});

it("verify refuses a head that is none, one head for several logs, and a file that is not there", async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "audit.db");
  threeEntries(path);
  const [bad, several, missing] = await Promise.all([
    smile(["audit", "verify", path, "--head", "abc"]),
    smile(["audit", "verify", path, path, "--head", "0".repeat(64)]),
    smile(["audit", "verify", join(folder.path, "none.db")]),
  ]);
  expect(bad).toMatchObject({ code: 1, stderr: expect.stringContaining("64 hexadecimal digits") });
  expect(several).toMatchObject({ code: 1, stderr: expect.stringContaining("--head is the head of one log") });
  expect(missing).toMatchObject({ code: 1, stderr: expect.stringContaining("FILE_MISSING") });
});

it("show prints the entries, from a time on if asked to, and nothing that moves the cursor", async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "audit.db");
  const { heads } = threeEntries(path);
  const [lines, json] = await Promise.all([
    smile(["audit", "show", path]),
    smile(["audit", "show", path, "--json", "--since", "2026-11-22T09:00:00Z"]),
  ]);
  expect(lines.stdout.split("\n")).toEqual([
    '    1  2026-11-22T08:00:00.000Z  "smile plant north"  key-made  keyEpoch=1  plant=north',
    '    2  2026-11-22T09:00:00.000Z  "smile plant north"  gateway-added  gateway="g\\u001b[2K1\\u{9b}"  lanes=24',
    '    3  2026-11-22T10:00:00.000Z  "smile plant north"  register-exported  first=true  serial=1',
    "",
  ]);
  const entries = json.stdout
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(entries).toMatchObject([
    { sequence: 2, facts: { gateway: "g\u001b[2K1\u009b", lanes: 24 }, previous: heads[0], hash: heads[1] },
    { sequence: 3, action: "register-exported", hash: heads[2] },
  ]);
});

it("show prints up to the first entry that is wrong, and ends with 1", async () => {
  using folder = temporaryFolder();
  const path = join(folder.path, "audit.db");
  threeEntries(path);
  {
    using file = new DatabaseSync(path);
    file.exec("DROP TRIGGER entries_last; DELETE FROM entries WHERE sequence = 2");
  }
  const shown = await smile(["audit", "show", path]);
  expect(shown).toMatchObject({ code: 1, stderr: expect.stringMatching(/entry 2 was removed.*AUDIT_BROKEN/) });
  expect(shown.stdout.trim().split("\n")).toHaveLength(1);
});
