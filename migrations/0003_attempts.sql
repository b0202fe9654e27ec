-- Attempts of runs whose task asked for retries (docs/decisions/0010). A run's own columns are those of its present attempt; the others are
-- in `attempts`. Frozen once landed: changes come as a new file.

-- Attempts after the first that were asked for, the delay before the second in milliseconds, and the verdicts that are retried, with commas.
ALTER TABLE runs ADD COLUMN retries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN retry_delay INTEGER NOT NULL DEFAULT 2000;
ALTER TABLE runs ADD COLUMN retry_on TEXT;
-- The delay before the present attempt is not over. The process measures it; `not_before` is its end by the clock for deadlines, for the next
-- process and for people.
ALTER TABLE runs ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN not_before INTEGER;

-- The highest send number learned when this store was found to be a restored copy: what was marked up to it may have gone on since.
ALTER TABLE agents ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;

-- Every attempt of a run but its present one. `state`: its verdict, or `unknown`: its end is not known to this store.
CREATE TABLE attempts (
  run           INTEGER NOT NULL,
  attempt       INTEGER NOT NULL,
  state         TEXT    NOT NULL,
  exit_code     INTEGER,
  signal        TEXT,
  reason        TEXT,
  note          TEXT,
  sent_at       INTEGER,
  started_at    INTEGER,
  finished_at   INTEGER,
  output_bytes  INTEGER NOT NULL DEFAULT 0,
  output_stored INTEGER NOT NULL DEFAULT 0,
  dropped_bytes INTEGER NOT NULL DEFAULT 0,
  dropped_from  INTEGER,
  stdout_sha256 TEXT,
  stderr_sha256 TEXT,
  signalled     INTEGER NOT NULL DEFAULT 0,
  remaining     INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (run, attempt)
) WITHOUT ROWID;

-- What may be marked: thousands of runs that wait for their delay must not be walked through for each that does not.
CREATE INDEX runs_to_mark ON runs (uuid, task) WHERE state = 'queued' AND held = 0;
CREATE INDEX runs_held ON runs (id) WHERE held = 1;
