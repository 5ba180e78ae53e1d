import { closeSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { PipelineError } from "@smile/errors/pipeline-error";
import { groupsCsv, recordsCsv } from "./report-csv.ts";
import { reportHtml } from "./report-html.ts";
import type { Shown } from "./show-release.ts";

/**
 * Writes a report's files for nobody but the owner to read: report.html, groups.csv, and records.csv where each person's group was
 * released too.
 * @returns their paths
 * @throws {PipelineError} STORE_UNAVAILABLE
 */
export function writeReport(folder: string, { facts, members }: Shown): string[] {
  const files: [name: string, content: Iterable<string>][] = [
    ["report.html", [reportHtml(facts)]],
    ["groups.csv", [groupsCsv(facts)]],
    ...(facts.scope === "records" ? [["records.csv", recordsCsv(facts, members)] as [string, Iterable<string>]] : []),
  ];
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  return files.map(([name, content]) => writePrivate(join(folder, name), content));
}

function writePrivate(path: string, content: Iterable<string>): string {
  const draft = `${path}.${process.pid}.tmp`;
  try {
    rmSync(draft, { force: true });
    const file = openSync(draft, "wx", 0o600);
    try {
      for (const text of content) writeSync(file, text);
    } finally {
      closeSync(file);
    }
    renameSync(draft, path);
    return path;
  } catch (error) {
    rmSync(draft, { force: true });
    throw new PipelineError("STORE_UNAVAILABLE", `${path} cannot be written`, { path }, error);
  }
}
