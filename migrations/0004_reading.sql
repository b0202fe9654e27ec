-- Pages of lists walk an index that ends where the page does, whatever is filtered by, and retention finds what open runs hold.
-- Frozen once landed: changes come as a new file.

-- With a state: one range. Without: one for each state, merged. So neither needs an index of its own.
CREATE INDEX runs_by_project_state ON runs (project, state, task);
DROP INDEX runs_by_project;
DROP INDEX runs_by_agent;

-- Open runs that have earlier attempts, with their output: few.
CREATE INDEX runs_retried ON runs (id) WHERE attempt > 1 AND state IN ('queued', 'sent', 'running', 'unknown');
