-- Output that retention removed is told apart from output that a restored store lacks: nobody asks its host for it again.
-- Frozen once landed: changes come as a new file.

ALTER TABLE runs ADD COLUMN output_removed INTEGER NOT NULL DEFAULT 0;
UPDATE runs SET output_removed = 1 WHERE note LIKE '%its output was removed to save room%';
