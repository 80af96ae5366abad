"""The queries of the scan processes, read from PostgreSQL's log of statements and parameters."""

from __future__ import annotations

import re
from collections import Counter

from tests.faults.world import Installation

_ASKED = re.compile(r"^(scan-\d+) DETAIL:  [Pp]arameters: \$1 = '\{(.*)\}'$", re.MULTILINE)


def log_them(world: Installation) -> None:
    """Have every statement of the scan role logged, with the name of the process that sent it. Applies to new sessions."""
    world.administer(
        "ALTER SYSTEM SET log_line_prefix = '%a '",
        "ALTER ROLE zpcode_scan SET log_statement = 'all'",
        "SELECT pg_reload_conf()",
    )


class Asked:
    """The log from the moment `Asked(world)` is made."""

    def __init__(self, world: Installation) -> None:
        self._log = world.servers.processes.log("postgres")
        self._from = self._log.stat().st_size

    def cards(self) -> Counter[tuple[str, str]]:
        """How many times each process asked for each card since then. Histories and the head are not counted."""
        with self._log.open("rb") as log:
            log.seek(self._from)
            lookups = _ASKED.findall(log.read().decode("utf-8", "replace"))
        return Counter(
            (process, key)
            for process, keys in lookups
            for key in re.findall(r'"[^"]*"|[^,"]+', keys)
            if key != "head" and not key.startswith("h:")
        )
