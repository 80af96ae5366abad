-- Bounds of numbers -----------------------------------------------------------------------------------------
-- The next number is above the newest. One row with the highest number of all would leave none for the rows after it.
-- The application's role inserts these rows, so the database bounds what number a row may have.

-- JSON and Lua have exact integers below 2^53. Above the bound, 2^32 numbers are left for a person who has to put a row right.
ALTER TABLE status_change ADD CONSTRAINT status_change_id_bound CHECK (id BETWEEN 1 AND 9007194959773696);
ALTER TABLE trace_event ADD CONSTRAINT trace_event_id_bound CHECK (id BETWEEN 1 AND 9007194959773696);
ALTER TABLE complaint ADD CONSTRAINT complaint_id_bound CHECK (id BETWEEN 1 AND 9007194959773696);
ALTER TABLE complaint_event ADD CONSTRAINT complaint_event_id_bound CHECK (id BETWEEN 1 AND 9007194959773696);
ALTER TABLE audit ADD CONSTRAINT audit_id_bound CHECK (id BETWEEN 1 AND 9007194959773696);
ALTER TABLE card_head ADD CONSTRAINT card_head_revision_bound CHECK (revision BETWEEN 0 AND 9007194959773696);

-- At 1001 a row (see below) an int would be used up by two million rows.
ALTER TABLE recovery ALTER COLUMN id TYPE bigint,
    ADD CONSTRAINT recovery_id_bound CHECK (id BETWEEN 1 AND 9007194959773696);
ALTER TABLE continuity ALTER COLUMN recoveries TYPE bigint;
ALTER TABLE lost_batch ALTER COLUMN recovery TYPE bigint;
ALTER TABLE held_decision ALTER COLUMN recovery TYPE bigint;
ALTER TABLE held_activation ALTER COLUMN recovery TYPE bigint;
ALTER TABLE kept_card ALTER COLUMN recovery TYPE bigint;

-- An entry follows the newest. Only a recovery skips numbers: those of lost entries, as many as a witness can be ahead
-- (REACH_NUMBERS in zpcode/rules/continuity.py). The clock bounds how far many such entries come: a database appends fewer than
-- 1000 entries a second, so those of the service stay below it.
CREATE FUNCTION audit_follows_newest() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    newest bigint := coalesce((SELECT a.id FROM public.audit a ORDER BY a.id DESC LIMIT 1), 0);
BEGIN
    IF NEW.id <= newest
        OR NEW.id > newest + (CASE WHEN NEW.action = 'database.recover' THEN 100000001 ELSE 1 END)
        OR (NEW.id > newest + 1 AND NEW.id > 1000 * extract(epoch FROM clock_timestamp()))
    THEN
        RAISE EXCEPTION 'entry % of audit does not follow entry %', NEW.id, newest;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER audit_follows_newest BEFORE INSERT ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_follows_newest();

-- A recovery has a number above all that a witness knows, which is at most 1000 ahead (REACH_RECOVERIES).
CREATE FUNCTION recovery_follows_newest() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    newest bigint := greatest((SELECT max(r.id) FROM public.recovery r), (SELECT c.recoveries FROM public.continuity c));
BEGIN
    IF NEW.id <= newest OR NEW.id > newest + 1001 THEN
        RAISE EXCEPTION 'recovery % does not follow recovery %', NEW.id, newest;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER recovery_follows_newest BEFORE INSERT ON recovery
    FOR EACH ROW EXECUTE FUNCTION recovery_follows_newest();

-- The count of recoveries is the number of one that is recorded.
CREATE FUNCTION continuity_counts_recoveries() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.recoveries < OLD.recoveries OR NOT EXISTS (SELECT FROM public.recovery r WHERE r.id = NEW.recoveries) THEN
        RAISE EXCEPTION 'there is no recovery % after recovery %', NEW.recoveries, OLD.recoveries;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER continuity_counts_recoveries BEFORE UPDATE OF recoveries ON continuity
    FOR EACH ROW WHEN (NEW.recoveries <> OLD.recoveries) EXECUTE FUNCTION continuity_counts_recoveries();

-- The revision of the cards never goes back. A witness can be 2^40 ahead (REACH). The clock bounds how far many such steps come:
-- cards change less often than 100 000 times a second.
CREATE FUNCTION card_head_follows() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.revision < OLD.revision OR NEW.revision > OLD.revision + 1099511627776
        OR NEW.revision > 100000 * extract(epoch FROM clock_timestamp())
    THEN
        RAISE EXCEPTION 'revision % does not follow revision %', NEW.revision, OLD.revision;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER card_head_follows BEFORE UPDATE OF revision ON card_head
    FOR EACH ROW EXECUTE FUNCTION card_head_follows();

-- The number of a batch, and of a lost batch, was drawn. At the end of the transaction: a recovery first tries what it would
-- enter, and moves the sequence when a person has agreed.
CREATE FUNCTION batch_number_is_drawn() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM public.batch_number s WHERE NEW.number BETWEEN 1 AND s.last_value AND s.is_called) THEN
        RAISE EXCEPTION 'batch number % was not drawn', NEW.number;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER batch_number_is_drawn AFTER INSERT ON batch
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION batch_number_is_drawn();
CREATE CONSTRAINT TRIGGER lost_batch_number_is_drawn AFTER INSERT OR UPDATE OF number ON lost_batch
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION batch_number_is_drawn();
