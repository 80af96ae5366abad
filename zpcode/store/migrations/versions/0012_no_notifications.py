"""The job queue sends no notifications: no worker listens, and a full queue of notifications would refuse every order.

Every role may fill that queue (8 GB), by listening in a transaction that stays open.

Revision ID: 0012
"""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the two triggers that notify. Those that record events stay."""
    for name in ("inserted", "aborted"):
        op.execute(f"DROP TRIGGER procrastinate_jobs_notify_queue_job_{name}_v1 ON procrastinate_jobs")
