"""A database of the scan service that does not answer."""

from __future__ import annotations

from collections.abc import Sequence

from scanweb.lookup.memory import Rows
from zpcode.errors import Text, Unavailable


class UnavailableDatabase:
    """Every read fails."""

    deadline = 1.0

    async def read(self, keys: Sequence[str], *, behind: bool = False) -> Rows:
        """Raises Unavailable."""
        raise Unavailable(Text("没有应答", f"no answer about {len(keys)} keys, {behind=}"))
