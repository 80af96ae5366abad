"""Pictures of products: `product.image` now names a file of an import, not a URL on another site.

Pictures are columns of the product and not a table: a product has at most two pictures, which are read and written
with it. Files are named by their content, so two products can share a file without sharing a row.

Revision ID: 0002
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the SQL file with this name, in the migration's one transaction."""
    op.get_bind().connection.cursor().execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))
