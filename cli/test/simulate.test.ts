import { parseNdjsonRow } from "@smile/simulators/ndjson";
import { workforceMapping } from "@smile/simulators/workforce/workforce-mapping";
import { expect, it } from "vitest";
import { smile, startShell } from "../../test/support/smile-process.ts";

const rowsOf = (stdout: string) =>
  stdout
    .trimEnd()
    .split("\n")
    .map((line, i) => parseNdjsonRow(line, i + 1));

it("writes rows that an agent reads, in event time, the same for the same seed, and some machines' only where asked", async () => {
  const args = ["simulate", "--machines", "6", "--steps", "40", "--seed", "5"];
  const [all, again, two, list] = await Promise.all([
    smile(args),
    smile(args),
    smile([...args, "--only", "pump-001", "fan-005"]),
    smile([...args, "--list"]),
  ]);
  expect(all).toMatchObject({ code: 0, stderr: "" });
  expect(again.stdout).toBe(all.stdout);
  const rows = rowsOf(all.stdout);
  expect(rows.every(({ timeMs }, i) => i === 0 || timeMs >= rows[i - 1]!.timeMs)).toBe(true);
  expect(list.stdout.trimEnd().split("\n").sort()).toEqual([...new Set(rows.map(({ machine }) => machine))].sort());
  expect(rowsOf(two.stdout)).toEqual(rows.filter(({ machine }) => machine === "pump-001" || machine === "fan-005"));
});

it("hands a slow reader every row: what the pipe does not hold waits", async () => {
  // More than the 64 KiB of a pipe stand still until the reader has its file.
  const simulate = "smile simulate --machines 20 --steps 100";
  const straight = startShell(`${simulate} > /dev/stdout | cat`);
  const slow = startShell(`${simulate} | node -e 'setTimeout(() => process.stdin.pipe(process.stdout), 300)'`);
  const [{ stdout }, late] = await Promise.all([straight.ended, slow.ended]);
  expect(stdout.length).toBeGreaterThan(4 * 65536);
  expect(late).toMatchObject({ code: 0, stdout });
});

it("ends quietly when its reader has seen enough", async () => {
  const { code, stdout, stderr } = await startShell("smile simulate --machines 50 --steps 100000 | head -n 3").ended;
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(rowsOf(stdout)).toHaveLength(3);
});

it("writes people instead of machines, the truth about them only when asked, and the mapping of their columns", async () => {
  const [people, again, truth, mapping, alone] = await Promise.all([
    smile(["simulate", "--workforce", "30"]),
    smile(["simulate", "--workforce", "20"]),
    smile(["simulate", "--workforce", "30", "--truth"]),
    smile(["simulate", "--mapping"]),
    smile(["simulate", "--truth"]),
  ]);
  const lines = people.stdout.trimEnd().split("\n");
  expect([people.code, lines.length]).toEqual([0, 31]);
  expect(again.stdout.trimEnd().split("\n")).toEqual(lines.slice(0, 21));
  const withTruth = truth.stdout.trimEnd().split("\n");
  expect(withTruth[0]).toBe(`${lines[0]},planted_segment`);
  for (const [i, line] of withTruth.slice(1).entries()) expect(line).toMatch(new RegExp(`^${RegExp.escape(lines[i + 1]!)},[0-5]$`));
  expect(JSON.parse(mapping.stdout)).toEqual(workforceMapping);
  expect(alone).toMatchObject({ code: 1, stderr: expect.stringContaining("--workforce") });
});
