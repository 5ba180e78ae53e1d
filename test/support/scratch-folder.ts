import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** One temporary folder for all that a run of the suite, and the processes it starts, put there: it goes with the run. */
export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), "smile-suite-"));
  process.env.TMPDIR = folder;
  return () => rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
}
