-- With the role of the authority anybody can add rows to the job queue. Procrastinate reads a row whatever it holds: arguments of
-- a gigabyte are loaded, and those that are no object end the worker's loop again and again. So the table takes one kind of row:
-- "issue batch N". `queueing_lock` is unique among waiting jobs, so a batch has one of them.
DELETE FROM procrastinate_jobs;  -- the worker queues reserved batches again

ALTER TABLE procrastinate_jobs ADD CONSTRAINT only_issuing CHECK (coalesce(
    queue_name = 'issuing'
    AND task_name = 'issue_batch'
    AND args->>'number' ~ '^[1-9][0-9]{0,7}$'
    AND args = jsonb_build_object('number', (args->>'number')::integer)
    AND (queueing_lock IS NULL OR queueing_lock = 'batch-' || (args->>'number'))
    AND length(coalesce(lock, '')) <= 100
    AND priority = 0
    AND attempts BETWEEN 0 AND 1000
    AND scheduled_at IS NULL
, false));
