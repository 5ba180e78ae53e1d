import type { SqliteFile } from "@smile/runtime/sqlite";
import type { FrameKey, FrameRiskTable, FrameTimes, WindowRisk } from "./frame-risks.ts";
import { framesOf } from "./frames-of.ts";
import type { NewestRisks } from "./newest-risks.ts";

/** Statements that make room for the layout of version 3, and keep what version 2 stored until `moveOldRisks` took it over. */
export const oldRisksAside = `
  DROP INDEX risks_by_machine;
  ALTER TABLE risks RENAME TO risks_v2;
  ALTER TABLE machine_risks RENAME TO machine_risks_v2;
`;

const OLD_RISKS = `SELECT gateway, epoch, sequence, block, lane, head AS headId, output, machine, frame_time_ms AS frameTimeMs,
  closed_at_ms AS closedAtMs, stored_at_ms AS storedAtMs, score, risk FROM risks_v2 ORDER BY id`;
type OldRisk = Omit<FrameKey, "head"> & FrameTimes & WindowRisk & { readonly headId: number };
const OLD_NEWEST =
  "SELECT machine, head, output, risk, frame_time_ms AS frameTimeMs, coalesce(open_alert, 0) AS openAlert FROM machine_risks_v2";
type OldNewest = { machine: number; head: number; output: number; risk: number; frameTimeMs: number; openAlert: number };

/**
 * Brings risks of version 2, a row per window, into rows of frames, in the order in which they were stored. One transaction: a crash in
 * the middle leaves all as it was, for the next start. Holds one frame in memory, and the block of every machine. Where nothing was set
 * aside it does nothing.
 */
export function moveOldRisks(db: SqliteFile, risks: FrameRiskTable, newest: NewestRisks): void {
  if (db.first("SELECT 1 FROM sqlite_master WHERE name = 'risks_v2'") === undefined) return;
  db.transaction(() => {
    const blockOf = moveRisks(db, risks);
    newest.refresh();
    for (const { head, output, ...each } of db.each<OldNewest>(OLD_NEWEST)) {
      // Of a machine whose risks are all forgotten any block will do: its next risk takes it along.
      newest.of(head, output).set({ ...each, block: blockOf.get(each.machine) ?? 0 });
    }
    newest.write();
    db.run("DROP TABLE risks_v2");
    db.run("DROP TABLE machine_risks_v2");
  });
}

/** @returns where the newest risk of each machine came */
function moveRisks(db: SqliteFile, risks: FrameRiskTable): ReadonlyMap<number, number> {
  const blockOf = new Map<number, number>();
  for (const windows of framesOf(db.each<OldRisk>(OLD_RISKS))) {
    risks.insert({ ...windows[0], head: windows[0].headId, windows });
    for (const { machine, block } of windows) {
      if (blockOf.get(machine) !== block) risks.noteBlock(machine, block);
      blockOf.set(machine, block);
    }
  }
  return blockOf;
}
