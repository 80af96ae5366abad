"""Pictures of products: what `product.image` names is a file of an import from now on, no address elsewhere.

Columns of the product and not a table of their own: a product has at most two pictures, they are read and written
with it, and the files are named by what is in them, so two products that share one need no row to share.

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
    """Run the SQL file beside this one, in the migration's one transaction."""
    op.get_bind().connection.cursor().execute(Path(__file__).with_suffix(".sql").read_text("utf-8"))
