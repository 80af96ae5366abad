-- API keys -----------------------------------------------------------------------------------------------
-- Each key says who or what uses it. The keys of before get the label that their entry in the audit log then has too.

ALTER TABLE api_key ALTER COLUMN label DROP DEFAULT;
UPDATE api_key SET label = 'unnamed ' || id WHERE label !~ '\S';
ALTER TABLE api_key ADD CONSTRAINT api_key_label CHECK (label ~ '\S' AND length(label) <= 100);
