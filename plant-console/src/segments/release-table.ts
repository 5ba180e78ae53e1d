import type { SqliteFile } from "@smile/runtime/sqlite";
import type { ReleasedMembership } from "./group-table.ts";
import type { JobName } from "./job-store.ts";

/** People by place in a release, by pseudonym: place 0 is "in no group that was shown", place i the i-th group. */
export type Members = readonly BigUint64Array[];

/** A release that was shown. `shown` is what was told, as JSON; null since its job was deleted. */
export type StoredRelease = JobName & { readonly releaseId: string; readonly atMs: number; readonly shown: string | null };

type Row = StoredRelease & { readonly id: number };

/**
 * Releases that were shown, in the file of a job store. Of a deleted job what was shown goes, and who was in which group stays: without
 * it a later release could not be kept from telling, by subtraction, about a few people of this one.
 */
export class ReleaseTable {
  readonly #db: SqliteFile;

  constructor(db: SqliteFile) {
    this.#db = db;
  }

  find(releaseId: string): StoredRelease | undefined {
    return this.#db.first<Row>(`${SELECT} WHERE release_id = ?`, releaseId);
  }

  /** Oldest first. */
  all(): StoredRelease[] {
    return this.#db.all<Row>(`${SELECT} ORDER BY id`);
  }

  /** Who was in which group of each release that was shown, oldest first; one at a time, since each may be of a million people. */
  *memberships(): Generator<{ readonly releaseId: string; readonly membership: ReleasedMembership }> {
    for (const { id, releaseId } of this.#db.all<Row>(`${SELECT} ORDER BY id`)) {
      yield { releaseId, membership: membershipOf(this.#members(id)) };
    }
  }

  /** People by place; undefined for a release that is not here. */
  members(releaseId: string): Members | undefined {
    const row = this.#db.first<Row>(`${SELECT} WHERE release_id = ?`, releaseId);
    return row && this.#members(row.id);
  }

  /** Part of the caller's transaction. */
  add({ releaseId, jobId, headId, atMs, shown }: StoredRelease, members: Members): void {
    const insert = "INSERT INTO releases (release_id, job_id, head_id, at_ms, shown) VALUES (?, ?, ?, ?, ?)";
    const { lastId } = this.#db.run(insert, releaseId, jobId, headId, atMs, shown);
    members.forEach((people, place) => {
      const bytes = new Uint8Array(people.buffer, people.byteOffset, people.byteLength);
      this.#db.run("INSERT INTO members VALUES (?, ?, ?)", lastId, place, bytes);
    });
  }

  /** Forgets what was shown of a job. Part of the caller's transaction. */
  forgetShown(jobId: string): void {
    this.#db.run("UPDATE releases SET shown = NULL WHERE job_id = ?", jobId);
  }

  /** Forgets who was in which group of the releases that were shown before a time. @returns how many there were */
  forgetBefore(atMs: number): number {
    return this.#db.transaction(() => {
      this.#db.run("DELETE FROM members WHERE release IN (SELECT id FROM releases WHERE at_ms < ?)", atMs);
      return this.#db.run("DELETE FROM releases WHERE at_ms < ?", atMs).changes;
    });
  }

  #members(id: number): BigUint64Array[] {
    const rows = this.#db.all<{ people: Uint8Array }>("SELECT people FROM members WHERE release = ? ORDER BY place", id);
    return rows.map(({ people }) => new BigUint64Array(people.slice().buffer));
  }
}

const SELECT = "SELECT id, release_id AS releaseId, job_id AS jobId, head_id AS headId, at_ms AS atMs, shown FROM releases";

/** As the rules against differencing take it. */
export function membershipOf([rest = new BigUint64Array(), ...groups]: Members): ReleasedMembership {
  const sets = groups.map((people) => new Set(people));
  return { groups: sets, everyone: new Set([rest, ...groups].flatMap((people) => Array.from(people))) };
}
