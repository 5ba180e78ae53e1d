import { PipelineError } from "@smile/errors/pipeline-error";
import { SqliteFile } from "@smile/runtime/sqlite";
import type { Cursor } from "@smile/schemas/cursor";
import type { Gap } from "@smile/schemas/envelopes";
import { type AlertRule, decide } from "./decide.ts";
import { GapTable, gapTables, type Losses, type StoredGap } from "./gap-table.ts";
import type { Risk, RiskId } from "./score-reader.ts";

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
  CREATE TABLE risks (
    id INTEGER PRIMARY KEY,
    gateway INTEGER NOT NULL, epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
    block INTEGER NOT NULL, lane INTEGER NOT NULL, head INTEGER NOT NULL, output INTEGER NOT NULL,
    machine INTEGER NOT NULL, frame_time_ms INTEGER NOT NULL, closed_at_ms INTEGER NOT NULL, stored_at_ms INTEGER NOT NULL,
    score INTEGER NOT NULL, risk REAL NOT NULL,
    UNIQUE (gateway, epoch, sequence, block, lane, head, output)
  ) STRICT;
  CREATE INDEX risks_by_machine ON risks (machine, head, output, frame_time_ms);
  CREATE TABLE machine_risks (
    machine INTEGER NOT NULL, head INTEGER NOT NULL, output INTEGER NOT NULL,
    risk REAL NOT NULL, frame_time_ms INTEGER NOT NULL, open_alert INTEGER,
    PRIMARY KEY (machine, head, output)
  ) STRICT, WITHOUT ROWID;
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
  readonly #gaps: GapTable;

  /**
   * @param options.path of the file, made when it is not there; ":memory:" for a store that ends with the process
   * @param options.plant whose risks these are
   * @param options.retainRisks how many of the newest risks, of the newest alerts and of the newest gaps are kept; default one million
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
      version: 2,
      upgrades: [gapTables],
      busyMs: 2000,
    });
    try {
      this.#db.run("INSERT OR IGNORE INTO cursor (one, plant) VALUES (1, ?)", plant);
      const { owner } = this.#db.first<{ owner: string }>("SELECT plant AS owner FROM cursor")!;
      this.#gaps = new GapTable(this.#db);
      if (owner !== plant) throw new PipelineError("FILE_DAMAGED", `the store ${path} is not plant ${plant}'s`, { path, plant, owner });
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
      throw error;
    }
  }

  /**
   * The machines whose newest risk is the worst, worst first.
   * @param query.direction of the head's alert: "above" puts the largest first, "below" the smallest
   */
  mostAtRisk(query: { headId: string; output?: number; direction: "above" | "below"; limit: number }): MachineRisk[] {
    const rows = this.#db.all<Omit<MachineRisk, "raised"> & { raised: number }>(
      `SELECT m.name AS machine, h.name AS headId, r.output, r.risk, r.frame_time_ms AS frameTimeMs, r.open_alert IS NOT NULL AS raised
       FROM machine_risks r JOIN names m ON m.id = r.machine JOIN names h ON h.id = r.head
       WHERE h.name = ? AND r.output = ? ORDER BY r.risk ${query.direction === "above" ? "DESC" : "ASC"}, m.name LIMIT ?`,
      query.headId,
      query.output ?? 0,
      query.limit,
    );
    return rows.map((row) => ({ ...row, raised: row.raised === 1 }));
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
    const rows = this.#db.all<StoredRisk>(
      `SELECT g.name AS gateway, r.epoch, r.sequence, r.block, r.lane, h.name AS headId, r.output, m.name AS machine,
         r.frame_time_ms AS frameTimeMs, r.closed_at_ms AS closedAtMs, r.stored_at_ms AS storedAtMs, r.score, r.risk
       FROM risks r JOIN names m ON m.id = r.machine JOIN names h ON h.id = r.head JOIN names g ON g.id = r.gateway
       WHERE m.name = ? AND h.name = ? AND r.output = ? ORDER BY r.frame_time_ms DESC, r.id DESC LIMIT ?`,
      machine,
      query.headId,
      query.output ?? 0,
      query.limit,
    );
    return rows.map((row) => ({ ...row }));
  }

  counts(): StoreCounts {
    const row = this.#db.first<StoreCounts>(
      `SELECT (SELECT count(*) FROM risks) AS risks, (SELECT count(DISTINCT machine) FROM machine_risks) AS machines,
         (SELECT count(*) FROM alerts) AS alerts, (SELECT count(*) FROM alerts WHERE cleared_at_ms IS NULL) AS openAlerts`,
    )!;
    return { ...row };
  }

  [Symbol.dispose](): void {
    this.#db[Symbol.dispose]();
  }

  #store(batch: Batch, rules: ReadonlyMap<string, AlertRule>): Stored {
    const risks: StoredRisk[] = [];
    const alerts: AlertEvent[] = [];
    const contradictions: RiskId[] = [];
    let late = 0;
    let duplicates = 0;
    for (const risk of batch.risks) {
      const found = this.#insert(risk, batch.storedAtMs);
      if (found === "same") duplicates++;
      if (found === "other") contradictions.push(idOf(risk));
      if (found !== "none") continue;
      risks.push({ ...risk, storedAtMs: batch.storedAtMs });
      const decided = this.#decide(risk, batch.storedAtMs, rules.get(risk.headId));
      if (decided.late) late++;
      if (decided.event) alerts.push(decided.event);
    }
    this.#gaps.arrived(risks.map(({ gateway, epoch, sequence }) => ({ gateway: this.#name(gateway), epoch, sequence })));
    const gaps = (batch.gaps ?? []).flatMap(
      (gap) => this.#gaps.insert(gap, this.#name(gap.gateway), batch.storedAtMs, this.#retainRisks) ?? [],
    );
    const { topicId, partition, next } = batch.cursor;
    this.#db.run("UPDATE cursor SET topic_id = ?, partition = ?, next = ?", topicId, partition, next);
    if (risks.length > 0) this.#db.run("DELETE FROM risks WHERE id <= (SELECT max(id) FROM risks) - ?", this.#retainRisks);
    if (alerts.length > 0) {
      const closed = "DELETE FROM alerts WHERE cleared_at_ms IS NOT NULL AND id <= (SELECT max(id) FROM alerts) - ?";
      this.#db.run(closed, this.#retainRisks);
    }
    return { risks, duplicates, contradictions, late, alerts, gaps };
  }

  /** @returns what stood under the risk's id before: no score, the same one, or another, which stays */
  #insert(risk: Risk, storedAtMs: number): "none" | "same" | "other" {
    const id = [this.#name(risk.gateway), risk.epoch, risk.sequence, risk.block, risk.lane, this.#name(risk.headId), risk.output];
    const times = [risk.frameTimeMs, risk.closedAtMs, storedAtMs];
    const insert = `INSERT INTO risks (gateway, epoch, sequence, block, lane, head, output, machine,
        frame_time_ms, closed_at_ms, stored_at_ms, score, risk) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
      ON CONFLICT (gateway, epoch, sequence, block, lane, head, output) DO NOTHING`;
    if (this.#db.run(insert, ...id, this.#name(risk.machine), ...times, risk.score, risk.risk).changes === 1) return "none";
    const stored = `SELECT score FROM risks
      WHERE gateway = ? AND epoch = ? AND sequence = ? AND block = ? AND lane = ? AND head = ? AND output = ?`;
    return this.#db.first<{ score: number }>(stored, ...id)!.score === risk.score ? "same" : "other";
  }

  #decide(risk: Risk, storedAtMs: number, rule: AlertRule | undefined): { late: boolean; event: AlertEvent | null } {
    const key = [this.#name(risk.machine), this.#name(risk.headId), risk.output];
    const row = this.#db.first<{ newestMs: number; openAlert: number | null }>(
      "SELECT frame_time_ms AS newestMs, open_alert AS openAlert FROM machine_risks WHERE machine = ? AND head = ? AND output = ?",
      ...key,
    );
    const state = row && { raised: row.openAlert !== null, newestMs: row.newestMs };
    const never: AlertRule = { direction: "above", raise: Number.POSITIVE_INFINITY, clear: Number.NEGATIVE_INFINITY };
    const decision = decide(state, risk.risk, risk.frameTimeMs, rule ?? never);
    if (decision.late) return { late: true, event: null };
    let openAlert = row?.openAlert ?? null;
    let event: AlertEvent | null = null;
    if (decision.event === "raised") {
      const { epoch, sequence, block, lane } = risk;
      const values = [...key, risk.frameTimeMs, risk.risk, storedAtMs, this.#name(risk.gateway), epoch, sequence, block, lane];
      const raise = `INSERT INTO alerts (machine, head, output, raised_at_ms, raised_risk, stored_at_ms, gateway, epoch, sequence, block, lane)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;
      openAlert = this.#db.run(raise, ...values).lastId;
      event = { kind: "raised", alert: this.#alert(openAlert) };
    } else if (decision.event === "cleared") {
      this.#db.run("UPDATE alerts SET cleared_at_ms = ?, cleared_risk = ? WHERE id = ?", risk.frameTimeMs, risk.risk, openAlert);
      event = { kind: "cleared", alert: this.#alert(openAlert!) };
      openAlert = null;
    }
    const write = "INSERT OR REPLACE INTO machine_risks (machine, head, output, risk, frame_time_ms, open_alert) VALUES (?, ?, ?, ?, ?, ?)";
    this.#db.run(write, ...key, risk.risk, risk.frameTimeMs, openAlert);
    return { late: false, event };
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
}

function idOf({ gateway, epoch, sequence, block, lane, headId, output }: RiskId): RiskId {
  return { gateway, epoch, sequence, block, lane, headId, output };
}

type AlertRow = Omit<Alert, "raisedBy"> & RiskId;

function toAlert({ gateway, epoch, sequence, block, lane, ...alert }: AlertRow): Alert {
  return { ...alert, raisedBy: { gateway, epoch, sequence, block, lane, headId: alert.headId, output: alert.output } };
}
