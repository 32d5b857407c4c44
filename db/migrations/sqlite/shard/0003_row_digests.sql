-- What makes the rows of a delivery checkable afterwards. Old code names the columns that it writes, and leaves these
-- NULL: such rows and files are audited by their number alone.

-- The file whose delivery wrote the row. An early return is delivered with a later file than the one it came in.
ALTER TABLE events ADD COLUMN delivered_with TEXT;
-- The digest over the rows of the delivery; docs/data-model.md says how it is made.
ALTER TABLE sent_file ADD COLUMN rows_sha256 TEXT;
