import { PipelineError } from "@smile/errors/pipeline-error";
import { SqliteFile } from "@smile/runtime/sqlite";
import type { Cursor } from "@smile/schemas/cursor";
import type { Gap } from "@smile/schemas/envelopes";
import { type AlertRule, decide } from "./decide.ts";
import { FrameRiskTable, frameRiskTables, type WindowRisk } from "./frame-risks.ts";
import { framesOf } from "./frames-of.ts";
import { type ArrivedFrame, GapTable, gapTables, type Losses, type StoredGap } from "./gap-table.ts";
import { NewestRisks, newestRiskTables, type RiskSeries } from "./newest-risks.ts";
import type { Risk, RiskId } from "./score-reader.ts";
import { moveOldRisks, oldRisksAside } from "./upgrade-risks.ts";

/** An alert as it stands. Times in ms: `raisedAtMs`, `clearedAtMs` are event time, `storedAtMs` this computer's. */
export type Alert = {
  readonly id: number;
  readonly machine: string;
  readonly headId: string;
  readonly output: number;
  readonly raisedAtMs: number;
  readonly raisedRisk: number;
  readonly storedAtMs: number;
  /** null while it is open. */
  readonly clearedAtMs: number | null;
  readonly clearedRisk: number | null;
  /** The risk that raised it. */
  readonly raisedBy: RiskId;
};
export type AlertEvent = { readonly kind: "raised" | "cleared"; readonly alert: Alert };
export type StoredRisk = Risk & { readonly storedAtMs: number };

/** The newest risk of a machine under one output of one head. */
export type MachineRisk = {
  readonly machine: string;
  readonly headId: string;
  readonly output: number;
  readonly risk: number;
  readonly frameTimeMs: number;
  readonly raised: boolean;
};

/** What one transaction did. */
export type Stored = {
  /** Risks that were new, in the order given. */
  readonly risks: readonly StoredRisk[];
  readonly duplicates: number;
  /** Ids that are stored with another score. What came first stays: which of the two is right, nobody can tell here. */
  readonly contradictions: readonly RiskId[];
  /** New risks of windows older than the machine's newest: stored, but left out of the alerts. */
  readonly late: number;
  readonly alerts: readonly AlertEvent[];
  /** Gaps that were new and of which something is missing. */
  readonly gaps: readonly StoredGap[];
};

/** What goes into one transaction. */
export type Batch = {
  readonly risks: readonly Risk[];
  readonly gaps?: readonly Gap[];
  readonly cursor: Cursor;
  readonly storedAtMs: number;
};

export type StoreCounts = { readonly risks: number; readonly machines: number; readonly alerts: number; readonly openAlerts: number };

/** Ids that repeat in every row are kept once in `names`. */
const TABLES = `
  CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
  ${frameRiskTables}
  ${newestRiskTables}
  CREATE TABLE alerts (
    id INTEGER PRIMARY KEY,
    machine INTEGER NOT NULL, head INTEGER NOT NULL, output INTEGER NOT NULL,
    raised_at_ms INTEGER NOT NULL, raised_risk REAL NOT NULL, stored_at_ms INTEGER NOT NULL,
    cleared_at_ms INTEGER, cleared_risk REAL,
    gateway INTEGER NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, block INTEGER NOT NULL, lane INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX open_alerts ON alerts (id) WHERE cleared_at_ms IS NULL;
  CREATE TABLE cursor (one INTEGER PRIMARY KEY CHECK (one = 1), plant TEXT NOT NULL, topic_id TEXT, partition INTEGER, next INTEGER) STRICT;
  ${gapTables}
`;

/** A layout of version 2 had a row per window and head. */
const UPGRADES = [gapTables, `${oldRisksAside} ${frameRiskTables} ${newestRiskTables}`];
/** Of heads without a rule: no risk is beyond it. */
const NEVER: AlertRule = { direction: "above", raise: Number.POSITIVE_INFINITY, clear: Number.NEGATIVE_INFINITY };

const ALERT_COLUMNS = `
  SELECT a.id, m.name AS machine, h.name AS headId, a.output, a.raised_at_ms AS raisedAtMs, a.raised_risk AS raisedRisk,
    a.stored_at_ms AS storedAtMs, a.cleared_at_ms AS clearedAtMs, a.cleared_risk AS clearedRisk,
    g.name AS gateway, a.epoch, a.sequence, a.block, a.lane
  FROM alerts a JOIN names m ON m.id = a.machine JOIN names h ON h.id = a.head JOIN names g ON g.id = a.gateway`;

/**
 * Risks, alerts and the cursor of one plant, in one SQLite file. They change in one transaction, so that a crash never leaves a
 * risk without its cursor, its alert, or the other way round. What `commit` returned from is on the disk.
 */
export class RiskStore implements Disposable {
  readonly #db: SqliteFile;
  readonly #retainRisks: number;
  readonly #names = new Map<string, number>();
  readonly #risks: FrameRiskTable;
  readonly #newest: NewestRisks;
  readonly #gaps: GapTable;

  /**
   * @param options.path of the file, made when it is not there; ":memory:" for a store that ends with the process
   * @param options.plant whose risks these are
   * @param options.retainRisks how many of the newest risks, of the newest alerts and of the newest gaps are kept; default one million.
   *   Of risks a few more: they go a frame at a time
   * @throws {PipelineError} STORE_UNAVAILABLE when the file cannot be opened, FILE_DAMAGED when it is no store of this plant
   */
  constructor(options: { path: string; plant: string; retainRisks?: number }) {
    const { path, plant } = options;
    this.#retainRisks = options.retainRisks ?? 1_000_000;
    this.#db = new SqliteFile({
      path,
      role: "store",
      unavailable: "STORE_UNAVAILABLE",
      tables: TABLES,
      version: 3,
      upgrades: UPGRADES,
      busyMs: 2000,
    });
    try {
      this.#db.run("INSERT OR IGNORE INTO cursor (one, plant) VALUES (1, ?)", plant);
      const { owner } = this.#db.first<{ owner: string }>("SELECT plant AS owner FROM cursor")!;
      this.#risks = new FrameRiskTable(this.#db);
      this.#newest = new NewestRisks(this.#db);
      this.#gaps = new GapTable(this.#db, this.#risks);
      if (owner !== plant) throw new PipelineError("FILE_DAMAGED", `the store ${path} is not plant ${plant}'s`, { path, plant, owner });
      moveOldRisks(this.#db, this.#risks, this.#newest);
    } catch (error) {
      this.#db[Symbol.dispose]();
      throw error;
    }
  }

  /** How far deliveries are stored. */
  get cursor(): Cursor {
    return this.#db.first<Cursor>("SELECT topic_id AS topicId, partition, next FROM cursor")!;
  }

  /**
   * Stores a batch in one transaction: new risks, the alerts that they raise or clear, new gaps, and the cursor.
   * @param rules by head id
   * @throws {PipelineError} STORE_UNAVAILABLE or FILE_DAMAGED; then nothing of the batch is stored
   */
  commit(batch: Batch, rules: ReadonlyMap<string, AlertRule>): Stored {
    try {
      return this.#db.transaction(() => this.#store(batch, rules));
    } catch (error) {
      this.#names.clear(); // ids given in this transaction are gone again
      this.#newest.undone();
      throw error;
    }
  }

  /**
   * The machines whose newest risk is the worst, worst first.
   * @param query.direction of the head's alert: "above" puts the largest first, "below" the smallest
   */
  mostAtRisk(query: { headId: string; output?: number; direction: "above" | "below"; limit: number }): MachineRisk[] {
    const { headId, output = 0, direction, limit } = query;
    const head = this.#find(headId);
    if (head === undefined) return [];
    this.#newest.refresh();
    const sign = direction === "above" ? -1 : 1;
    const worst = [...this.#newest.of(head, output).values()].sort((a, b) => sign * (a.risk - b.risk));
    // Of equal risks names decide, so the last one's equals are among those that are put in order.
    const bound = worst[limit - 1]?.risk;
    const equals = bound === undefined ? worst : worst.slice(0, worst.findLastIndex(({ risk }) => risk === bound) + 1);
    return equals
      .map(({ machine, risk, frameTimeMs, openAlert }) => {
        return { machine: this.#nameOf(machine), headId, output, risk, frameTimeMs, raised: openAlert !== 0 };
      })
      .sort((a, b) => sign * (a.risk - b.risk) || (a.machine < b.machine ? -1 : 1))
      .slice(0, limit);
  }

  /** The newest gaps of which something is missing, newest first. */
  gaps(limit: number): StoredGap[] {
    return this.#gaps.newest(limit);
  }

  /** All that gateways had to drop and that did not arrive. */
  losses(): Losses {
    return this.#gaps.losses();
  }

  /** Alerts that are raised and not cleared, oldest first. */
  openAlerts(): Alert[] {
    return this.#db.all<AlertRow>(`${ALERT_COLUMNS} WHERE a.cleared_at_ms IS NULL ORDER BY a.id`).map(toAlert);
  }

  /** The newest alerts, open and cleared, newest first. */
  alerts(limit: number): Alert[] {
    return this.#db.all<AlertRow>(`${ALERT_COLUMNS} ORDER BY a.id DESC LIMIT ?`, limit).map(toAlert);
  }

  /** The newest risks of a machine under one output of one head, by event time, newest first. */
  risksOf(machine: string, query: { headId: string; output?: number; limit: number }): StoredRisk[] {
    const { headId, output = 0, limit } = query;
    const [number, head] = [this.#find(machine), this.#find(headId)];
    if (number === undefined || head === undefined) return [];
    return this.#risks.newestOf(number, head, output, limit).map((frame) => {
      const { epoch, sequence, block, frameTimeMs, closedAtMs, storedAtMs } = frame;
      const { lane, score, risk } = frame.windows[0]!;
      const id = { gateway: this.#nameOf(frame.gateway), epoch, sequence, block, lane, headId, output };
      return { ...id, machine, frameTimeMs, closedAtMs, storedAtMs, score, risk };
    });
  }

  counts(): StoreCounts {
    this.#newest.refresh();
    const row = this.#db.first<Pick<StoreCounts, "alerts" | "openAlerts">>(
      `SELECT (SELECT count(*) FROM alerts) AS alerts, (SELECT count(*) FROM alerts WHERE cleared_at_ms IS NULL) AS openAlerts`,
    )!;
    return { risks: this.#risks.count, machines: this.#newest.countMachines(), ...row };
  }

  [Symbol.dispose](): void {
    this.#db[Symbol.dispose]();
  }

  #store(batch: Batch, rules: ReadonlyMap<string, AlertRule>): Stored {
    const { storedAtMs } = batch;
    this.#newest.refresh();
    const stored: StoredSoFar = { risks: [], duplicates: 0, contradictions: [], late: 0, alerts: [] };
    const arrived: ArrivedFrame[] = [];
    for (const frame of framesOf(batch.risks)) {
      const before = stored.risks.length;
      this.#storeFrame(frame, storedAtMs, rules.get(frame[0].headId) ?? NEVER, stored);
      const { gateway, epoch, sequence } = frame[0];
      if (stored.risks.length > before) arrived.push({ gateway: this.#name(gateway), epoch, sequence });
    }
    this.#newest.write();
    this.#gaps.arrived(arrived);
    const gaps = (batch.gaps ?? []).flatMap((gap) => this.#gaps.insert(gap, this.#name(gap.gateway), storedAtMs, this.#retainRisks) ?? []);
    const { topicId, partition, next } = batch.cursor;
    this.#db.run("UPDATE cursor SET topic_id = ?, partition = ?, next = ?", topicId, partition, next);
    if (stored.risks.length > 0) this.#risks.retain(this.#retainRisks);
    if (stored.alerts.length > 0) {
      const closed = "DELETE FROM alerts WHERE cleared_at_ms IS NOT NULL AND id <= (SELECT max(id) FROM alerts) - ?";
      this.#db.run(closed, this.#retainRisks);
    }
    return { ...stored, gaps };
  }

  /** @param frame risks as `framesOf` puts them together; what is new of them is added to `stored` */
  #storeFrame(frame: readonly [Risk, ...Risk[]], storedAtMs: number, rule: AlertRule, stored: StoredSoFar): void {
    const { gateway, epoch, sequence, block, headId, output, frameTimeMs, closedAtMs } = frame[0];
    const key = { gateway: this.#name(gateway), epoch, sequence, block, head: this.#name(headId), output };
    const known = this.#risks.scores(key);
    const series = this.#newest.of(key.head, output);
    const windows: WindowRisk[] = [];
    for (const risk of frame) {
      const { lane, score } = risk;
      const found = known.get(lane);
      if (found !== undefined) {
        if (found === score) stored.duplicates++;
        else stored.contradictions.push(idOf(risk));
        continue;
      }
      refuseNoNumber(risk);
      const machine = this.#name(risk.machine);
      windows.push({ lane, machine, score, risk: risk.risk });
      stored.risks.push({ ...risk, storedAtMs });
      this.#decide(risk, { machine, series, storedAtMs, rule }, stored);
    }
    if (windows.length > 0) this.#risks.insert({ ...key, frameTimeMs, closedAtMs, storedAtMs, windows });
  }

  #decide(risk: Risk, of: { machine: number; series: RiskSeries; storedAtMs: number; rule: AlertRule }, stored: StoredSoFar): void {
    const { machine, series, storedAtMs, rule } = of;
    const { block, frameTimeMs } = risk;
    const before = series.find(machine);
    if (before?.block !== block) this.#risks.noteBlock(machine, block);
    const state = before && { raised: before.openAlert !== 0, newestMs: before.frameTimeMs };
    const { late, event } = decide(state, risk.risk, frameTimeMs, rule);
    if (late) {
      stored.late++;
      return;
    }
    let openAlert = before?.openAlert ?? 0;
    if (event === "raised") {
      const { epoch, sequence, lane } = risk;
      const values = [machine, series.head, series.output, frameTimeMs, risk.risk, storedAtMs, this.#name(risk.gateway)];
      const raise = `INSERT INTO alerts (machine, head, output, raised_at_ms, raised_risk, stored_at_ms, gateway, epoch, sequence, block, lane)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;
      openAlert = this.#db.run(raise, ...values, epoch, sequence, block, lane).lastId;
      stored.alerts.push({ kind: event, alert: this.#alert(openAlert) });
    } else if (event === "cleared") {
      this.#db.run("UPDATE alerts SET cleared_at_ms = ?, cleared_risk = ? WHERE id = ?", frameTimeMs, risk.risk, openAlert);
      stored.alerts.push({ kind: event, alert: this.#alert(openAlert) });
      openAlert = 0;
    }
    series.set({ machine, block, risk: risk.risk, frameTimeMs, openAlert });
  }

  #alert(id: number): Alert {
    return toAlert(this.#db.first<AlertRow>(`${ALERT_COLUMNS} WHERE a.id = ?`, id)!);
  }

  #name(name: string): number {
    const known = this.#names.get(name);
    if (known !== undefined) return known;
    this.#db.run("INSERT OR IGNORE INTO names (name) VALUES (?)", name);
    const { id } = this.#db.first<{ id: number }>("SELECT id FROM names WHERE name = ?", name)!;
    this.#names.set(name, id);
    return id;
  }

  /** @returns undefined for a name that stands in no row */
  #find(name: string): number | undefined {
    return this.#names.get(name) ?? this.#db.first<{ id: number }>("SELECT id FROM names WHERE name = ?", name)?.id;
  }

  #nameOf(id: number): string {
    return this.#db.first<{ name: string }>("SELECT name FROM names WHERE id = ?", id)!.name;
  }
}

type StoredSoFar = { risks: StoredRisk[]; duplicates: number; contradictions: RiskId[]; late: number; alerts: AlertEvent[] };

/** Packed numbers have no columns whose types would refuse it. */
function refuseNoNumber({ gateway, epoch, sequence, lane, score, risk }: Risk): void {
  if (Number.isSafeInteger(score) && Number.isFinite(risk)) return;
  const field = Number.isFinite(risk) ? "score" : "risk";
  throw new PipelineError("STORE_UNAVAILABLE", `${field} of a window is no number`, { field, gateway, epoch, sequence, lane });
}

function idOf({ gateway, epoch, sequence, block, lane, headId, output }: RiskId): RiskId {
  return { gateway, epoch, sequence, block, lane, headId, output };
}

type AlertRow = Omit<Alert, "raisedBy"> & RiskId;

function toAlert({ gateway, epoch, sequence, block, lane, ...alert }: AlertRow): Alert {
  return { ...alert, raisedBy: { gateway, epoch, sequence, block, lane, headId: alert.headId, output: alert.output } };
}
