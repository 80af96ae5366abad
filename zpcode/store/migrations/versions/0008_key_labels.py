"""Labels of API keys are mandatory, and each key is in the audit log with a digest of its secret's hash.

Keys of before have an entry without this digest. Each gets one entry `access.record`, so that a key that is changed or inserted by
hand differs from the log (zpcode.rules.access_log).

Revision ID: 0008
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from pathlib import Path

from alembic import op
from sqlalchemy import text

from zpcode.store import audit

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Label every key, record every key, then demand labels; in the migration's one transaction."""
    connection = op.get_bind()
    connection.connection.cursor().execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))
    now = datetime.now(UTC)
    for key in connection.execute(text("SELECT id, role, subject, label, secret_hash FROM api_key ORDER BY id")).all():
        detail = {"role": key.role, "subject": key.subject, "label": key.label}
        detail["secret"] = hashlib.sha256(key.secret_hash).hexdigest()
        object_ = f"api-key:{key.id}"
        audit.append(connection, at=now, actor="migration:0008", action="access.record", object_=object_, detail=detail)
