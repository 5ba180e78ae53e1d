import { closeSync, existsSync, openSync } from "node:fs";
import { DatabaseSync, type SQLInputValue, type StatementSync } from "node:sqlite";
import { PipelineError } from "@smile/errors/pipeline-error";

export type SqliteOptions = {
  /** File, made when missing; its folder must exist. ":memory:" for one that ends with the process. */
  readonly path: string;
  /** What the file is, at the head of every error: `store` or `log file`. */
  readonly role: string;
  /** Code of an error that may pass: a full disk, a file that somebody else holds. */
  readonly unavailable: "STORE_UNAVAILABLE" | "LOG_UNAVAILABLE";
  /** Statements that make the tables of a new file, and the version of that layout, kept in `user_version`. */
  readonly tables: string;
  readonly version: number;
  /** Statements that bring a file of an older version to the next one: the first from version 1 to 2. Default: none. */
  readonly upgrades?: readonly string[];
  /** How long a statement waits for a lock of another connection. */
  readonly busyMs: number;
  /** PRAGMA statements besides those that every file gets. */
  readonly pragmas?: string;
  /** Only reads, and never changes, a file that is there. Default: false. */
  readonly readOnly?: boolean;
};

/** SQLite result codes SQLITE_CORRUPT and SQLITE_NOTADB: no trying again helps. */
const damageCodes = new Set([11, 26]);

/**
 * An SQLite file in WAL mode that is flushed to the disk on every commit (synchronous = FULL). Synchronous: one call is one step that
 * nothing in this process interrupts. Statements are prepared once per text. Whatever SQLite refuses is thrown as a PipelineError that
 * names the file: FILE_DAMAGED, or the code in `unavailable`.
 */
export class SqliteFile implements Disposable {
  readonly #options: SqliteOptions;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** @throws {PipelineError} FILE_DAMAGED, also for a file of a newer version; the code in `unavailable` */
  constructor(options: SqliteOptions) {
    this.#options = options;
    const { path, busyMs, pragmas = "", readOnly = false } = options;
    this.#db = this.#named(() => {
      // SQLite gives a new file, and the files beside it, the mode of this one: nobody else reads risks, features or frames. Not where
      // it stands: closing a file ends the locks that this process has on it (https://sqlite.org/howtocorrupt.html, 2.2).
      if (path !== ":memory:" && !readOnly && !existsSync(path)) closeSync(openSync(path, "a", 0o600));
      return new DatabaseSync(path, { timeout: busyMs, readOnly });
    });
    try {
      if (readOnly) this.#foundVersion();
      else {
        this.#exec(`${pragmas} PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;`);
        this.transaction(() => this.#makeTables());
      }
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    if (this.#db.isOpen) this.#db.close();
  }

  /** Runs `work` in one durable transaction: all of it or nothing. What `work` throws comes through as it is. */
  transaction<T>(work: () => T): T {
    this.#exec("BEGIN IMMEDIATE");
    try {
      const result = work();
      this.#exec("COMMIT");
      return result;
    } catch (error) {
      if (this.#db.isOpen && this.#db.isTransaction) this.#exec("ROLLBACK");
      throw error;
    }
  }

  /** @returns how many rows the statement changed, and the id of the row that was inserted last */
  run(sql: string, ...values: SQLInputValue[]): { readonly changes: number; readonly lastId: number } {
    const { changes, lastInsertRowid } = this.#named(() => this.#prepared(sql).run(...values));
    return { changes: Number(changes), lastId: Number(lastInsertRowid) };
  }

  all<Row>(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#named(() => this.#prepared(sql).all(...values)) as Row[];
  }

  first<Row>(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#named(() => this.#prepared(sql).get(...values)) as Row | undefined;
  }

  /** Rows one by one, for a reader that stops when it has enough. */
  *each<Row>(sql: string, ...values: SQLInputValue[]): Generator<Row> {
    const rows = this.#named(() => this.#prepared(sql).iterate(...values));
    try {
      for (;;) {
        const step = this.#named(() => rows.next());
        if (step.done) return;
        yield step.value as Row;
      }
    } finally {
      rows.return?.();
    }
  }

  #foundVersion(): number {
    const { path, role, version } = this.#options;
    const found = this.first<{ user_version: number }>("PRAGMA user_version")!.user_version;
    if (found > version) {
      const facts = { path, version: found, known: version };
      throw new PipelineError("FILE_DAMAGED", `${role} ${path} was written by a newer version (${found})`, facts);
    }
    return found;
  }

  #makeTables(): void {
    const { tables, version, upgrades = [] } = this.#options;
    const found = this.#foundVersion();
    const steps = found === 0 ? [tables] : upgrades.slice(found - 1, version - 1);
    if (found < version) this.#exec(`${steps.join(" ")} PRAGMA user_version = ${version};`);
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  #exec(sql: string): void {
    this.#named(() => this.#db.exec(sql));
  }

  #named<T>(call: () => T): T {
    try {
      return call();
    } catch (error) {
      const { path, role, unavailable } = this.#options;
      const sqlite = (error as { errcode?: number }).errcode ?? 0;
      const code = damageCodes.has(sqlite & 0xff) ? "FILE_DAMAGED" : unavailable;
      throw new PipelineError(code, `${role} ${path}: ${(error as Error).message}`, { path, sqlite }, error);
    }
  }
}
