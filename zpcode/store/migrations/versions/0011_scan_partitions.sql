-- Partitions of scans ---------------------------------------------------------------------------------------
-- The application's role owns no table. It makes and drops partitions of `scan` with these two functions and no other way.

-- The partitions that were ever made. Only the two functions write it, so that a partition that somebody else dropped is missed.
CREATE TABLE scan_partition (
    month           date PRIMARY KEY,
    made_at         timestamptz NOT NULL,
    dropped_at      timestamptz,
    scans           bigint,                                  -- its rows when it was dropped
    of_items        bigint,                                  -- those of items, which histories count
    CHECK ((dropped_at IS NULL) = (scans IS NULL) AND (dropped_at IS NULL) = (of_items IS NULL))
);
INSERT INTO scan_partition (month, made_at)
    SELECT to_date(substr(c.relname, 6), 'YYYY_MM'), now()
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
     WHERE i.inhparent = 'scan'::regclass AND c.relname ~ '^scan_[0-9]{4}_[0-9]{2}$';

CREATE FUNCTION make_scan_partition(month date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    first date := date_trunc('month', month::timestamp)::date;
    name text := 'scan_' || to_char(first, 'YYYY_MM');
BEGIN
    IF month NOT BETWEEN '2020-01-01' AND '2199-12-31' THEN
        RAISE EXCEPTION 'no partition of scans for %', month;
    END IF;
    IF to_regclass('public.' || name) IS NULL THEN
        EXECUTE format('CREATE TABLE public.%I PARTITION OF public.scan FOR VALUES FROM (%L) TO (%L)',
                       name, first, (first + interval '1 month')::date);
        INSERT INTO public.scan_partition (month, made_at) VALUES (first, now())
            ON CONFLICT ON CONSTRAINT scan_partition_pkey
            DO UPDATE SET made_at = now(), dropped_at = NULL, scans = NULL, of_items = NULL;
    END IF;
END $$;

-- A partition is dropped half a year after its end at the earliest, so that nobody drops what may still be evidence.
CREATE FUNCTION drop_scan_partition(month date) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    first date := date_trunc('month', month::timestamp)::date;
    name text := 'scan_' || to_char(first, 'YYYY_MM');
    counted bigint;
    counted_of_items bigint;
BEGIN
    IF first + interval '7 months' > now() THEN
        RAISE EXCEPTION 'scans of % are kept for half a year after the end of their month', to_char(first, 'YYYY-MM');
    END IF;
    IF to_regclass('public.' || name) IS NULL THEN
        RAISE EXCEPTION 'there is no partition %', name;
    END IF;
    -- No scan is added while they are counted, and readers go on. DROP locks `scan` before its partition, as they do; a stricter
    -- lock here would be taken in the other order.
    EXECUTE format('LOCK TABLE public.%I IN SHARE MODE', name);
    EXECUTE format('SELECT count(*), count(*) FILTER (WHERE batch IS NOT NULL AND index IS NOT NULL) FROM public.%I', name)
       INTO counted, counted_of_items;
    UPDATE public.scan_partition AS p SET dropped_at = now(), scans = counted, of_items = counted_of_items
        WHERE p.month = first;
    EXECUTE format('DROP TABLE public.%I', name);
    RETURN counted;
END $$;

REVOKE ALL ON FUNCTION make_scan_partition(date), drop_scan_partition(date) FROM PUBLIC;
