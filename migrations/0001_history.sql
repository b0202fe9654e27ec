-- History: agents, tasks, runs, output. SQLite is the truth about it (DESIGN section 2).
-- Times are milliseconds since 1970, wall clock. Frozen once landed: changes come as a new file.

-- store id, fence, newest task id
CREATE TABLE store (
  key   TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE agents (
  uuid            TEXT NOT NULL PRIMARY KEY,
  hello           TEXT,                          -- JSON of the last hello; NULL: known by its key or by a project only
  journal         TEXT,                          -- journal id of the last judged report
  incarnation     TEXT,                          -- whose reports `reports` counts
  reports         INTEGER NOT NULL DEFAULT 0,    -- highest contiguous sequence committed
  output_from     TEXT,                          -- incarnation whose output frames `output` counts
  output          INTEGER NOT NULL DEFAULT 0,
  number          INTEGER NOT NULL DEFAULT 0,    -- send number, fence << 32 | count
  created_at      INTEGER NOT NULL,
  last_seen_at    INTEGER,
  stopped_at      INTEGER,                       -- said bye, and no hello since
  removed_at      INTEGER
) WITHOUT ROWID;

CREATE TABLE members (
  project TEXT NOT NULL,
  uuid    TEXT NOT NULL,
  PRIMARY KEY (project, uuid)
) WITHOUT ROWID;
CREATE INDEX members_by_agent ON members (uuid);

CREATE TABLE tasks (
  id           TEXT NOT NULL PRIMARY KEY,        -- ULID
  auuid        TEXT NOT NULL,                    -- <project>-<id>, <uuid>-<id> or tasks-<id>
  target       TEXT NOT NULL,                    -- the name posted to
  target_kind  TEXT NOT NULL,                    -- agent, project
  taskname     TEXT NOT NULL,
  args         TEXT,                             -- JSON list
  spec         TEXT NOT NULL,                    -- JSON of TaskSpec
  origin       TEXT NOT NULL,                    -- http, plain, queue, cron
  created_at   INTEGER NOT NULL,
  start_before INTEGER                           -- created_at + expires
) WITHOUT ROWID;
CREATE INDEX tasks_by_target ON tasks (target, id);

CREATE TABLE runs (
  id                INTEGER PRIMARY KEY,
  task              TEXT    NOT NULL,
  uuid              TEXT    NOT NULL,
  project           TEXT,                        -- posted to, else the agent's first
  state             TEXT    NOT NULL,
  attempt           INTEGER NOT NULL DEFAULT 1,
  number            INTEGER,                     -- send number of its mark; NULL: unmarked, never sent
  wants_end         TEXT,                        -- cancelled, expired
  reported          INTEGER NOT NULL DEFAULT 0,
  closing           INTEGER NOT NULL DEFAULT 0,
  overdue           INTEGER NOT NULL DEFAULT 0,
  exit_code         INTEGER,
  signal            TEXT,
  reason            TEXT,
  note              TEXT,
  queued_at         INTEGER NOT NULL,
  sent_at           INTEGER,
  started_at        INTEGER,
  finished_at       INTEGER,
  stop_requested_at INTEGER,
  start_before      INTEGER,                     -- the task's, for the index below
  output_bytes      INTEGER NOT NULL DEFAULT 0,  -- written by the command, as far as known
  output_stored     INTEGER NOT NULL DEFAULT 0,  -- next offset wanted
  dropped_bytes     INTEGER NOT NULL DEFAULT 0,
  dropped_from      INTEGER,
  stdout_sha256     TEXT,
  stderr_sha256     TEXT,
  signalled         INTEGER NOT NULL DEFAULT 0,
  remaining         INTEGER NOT NULL DEFAULT 0,  -- processes left, API field `left`
  alias             TEXT,                        -- <uuid><name> of a plain task
  UNIQUE (task, uuid)
);
CREATE INDEX runs_by_agent ON runs (uuid, task);
CREATE INDEX runs_by_state ON runs (state, task);
-- What of an agent is out, and what waits: a count and a short range, however long its backlog or its history is.
CREATE INDEX runs_by_agent_state ON runs (uuid, state, task);
-- What the loops look for every second; each holds only rows that want attention.
CREATE INDEX runs_to_end ON runs (uuid, task)
  WHERE state IN ('queued', 'sent', 'running', 'unknown') AND (wants_end IS NOT NULL OR closing = 1);
CREATE INDEX runs_unreported ON runs (uuid, task) WHERE state = 'sent' AND reported = 0;
CREATE INDEX runs_to_start ON runs (start_before) WHERE state IN ('queued', 'sent');
CREATE INDEX runs_by_project ON runs (project, task);
CREATE INDEX runs_by_alias ON runs (alias, task) WHERE alias IS NOT NULL;

CREATE TABLE output (
  run      INTEGER NOT NULL,
  attempt  INTEGER NOT NULL,
  offset   INTEGER NOT NULL,                     -- of the first byte, in all that the command wrote
  segments TEXT    NOT NULL,                     -- stream:length,… in order; 1 stdout, 2 stderr
  bytes    BLOB    NOT NULL,
  PRIMARY KEY (run, attempt, offset)
) WITHOUT ROWID;
