-- Stopping runs, limits that hosts told, and agents that were removed. Times are milliseconds since 1970.
-- Frozen once landed: changes come as a new file.

-- How a run is to be ended; NULL: as its agent does it (TERM, its own grace).
ALTER TABLE runs ADD COLUMN stop_signal TEXT;
ALTER TABLE runs ADD COLUMN stop_grace REAL;                -- seconds

-- The clock for deadlines: when its time limit is over. NULL: none, or its agent did not say.
ALTER TABLE runs ADD COLUMN deadline INTEGER;
CREATE INDEX runs_overdue ON runs (deadline) WHERE state = 'unknown' AND overdue = 0 AND deadline IS NOT NULL;

-- Journals of agents that an operator removed: their reports are refused for good, their fence is written into every Redis again.
CREATE TABLE fenced (
  uuid    TEXT NOT NULL,
  journal TEXT NOT NULL,
  PRIMARY KEY (uuid, journal)
) WITHOUT ROWID;
