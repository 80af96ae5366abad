-- While a witness disagrees with the database, scans do not believe Redis alone. docs/recovery.md

ALTER TABLE continuity ADD COLUMN doubted_since timestamptz;  -- when a process found a witness that disagrees; NULL: none does

-- The body of the head says whether a scan reads the decisions of the database too, and shows the graver ones.
CREATE OR REPLACE VIEW scan_view AS
    SELECT key, revision, body FROM card
    UNION ALL
    SELECT 'h:' || batch::text || ':' || index::text,
           0::bigint,
           convert_to(json_build_array(scans, extract(epoch FROM first_at)::bigint, first_city)::text, 'UTF8')
      FROM item_history
    UNION ALL
    SELECT 'head',
           CASE WHEN continuity.behind_since IS NULL THEN card_head.revision ELSE -1 END,
           CASE WHEN continuity.behind_since IS NULL AND continuity.doubted_since IS NULL THEN ''::bytea
                ELSE convert_to('doubted', 'UTF8') END
      FROM card_head, continuity;
