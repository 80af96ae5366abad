-- A complaint that came when there were too many about its code, or in all: its text was taken, its photos were not.
ALTER TABLE complaint ADD COLUMN over_budget boolean NOT NULL DEFAULT false;
