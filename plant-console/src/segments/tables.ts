/** Layout of the job store, which jobs and releases share. A frame's segments are one blob, a byte per lane: a million records take about a megabyte. */
const FIRST_TABLES = `
  CREATE TABLE owner (one INTEGER PRIMARY KEY CHECK (one = 1), plant TEXT NOT NULL) STRICT;
  CREATE TABLE jobs (
    id INTEGER PRIMARY KEY,
    job_id TEXT NOT NULL, head_id TEXT NOT NULL,
    gateway TEXT NOT NULL, epoch INTEGER NOT NULL,
    frame_count INTEGER NOT NULL, lanes INTEGER NOT NULL, segments INTEGER NOT NULL,
    frames INTEGER NOT NULL DEFAULT 0, records INTEGER NOT NULL DEFAULT 0,
    duplicated INTEGER NOT NULL DEFAULT 0, contradictions INTEGER NOT NULL DEFAULT 0,
    UNIQUE (job_id, head_id)
  ) STRICT;
  CREATE TABLE frames (job INTEGER NOT NULL, sequence INTEGER NOT NULL, segments BLOB NOT NULL, PRIMARY KEY (job, sequence)) STRICT, WITHOUT ROWID;
  CREATE TABLE deleted (job_id TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT, WITHOUT ROWID;
`;

/**
 * Version 2: the cursor, so that a restart does not ask for everything; when a job's first score came, from which its retention counts
 * (for jobs of a version 1 file, the upgrade); releases with what was shown, and who was in which group of them.
 */
const SECOND_TABLES = `
  ALTER TABLE jobs ADD COLUMN at_ms INTEGER NOT NULL DEFAULT 0;
  UPDATE jobs SET at_ms = CAST(unixepoch('subsec') * 1000 AS INTEGER);
  CREATE TABLE cursor (one INTEGER PRIMARY KEY CHECK (one = 1), topic_id TEXT, partition INTEGER, next INTEGER) STRICT;
  INSERT INTO cursor VALUES (1, NULL, NULL, NULL);
  CREATE TABLE releases (
    id INTEGER PRIMARY KEY,
    release_id TEXT NOT NULL UNIQUE,
    job_id TEXT NOT NULL, head_id TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    shown TEXT
  ) STRICT;
  CREATE TABLE members (release INTEGER NOT NULL, place INTEGER NOT NULL, people BLOB NOT NULL, PRIMARY KEY (release, place)) STRICT, WITHOUT ROWID;
`;

export const JOB_TABLES = { version: 2, tables: `${FIRST_TABLES} ${SECOND_TABLES}`, upgrades: [SECOND_TABLES] } as const;
