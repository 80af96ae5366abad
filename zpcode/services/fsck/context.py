"""The context of a check: the parts that it reads, and its options."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from keys.keyring import Keyring
from zpcode.projection.client import AnyRedis
from zpcode.rules.continuity import BehindEvidence
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.fsck.report import CheckResult
from zpcode.services.head_comparison import CountersignedHeads
from zpcode.store.database.session import Engine


@dataclass(frozen=True, slots=True)
class CheckContext:
    """The parts of a running service, and the options of the checks.

    `keyring` returns the public keyring or raises KeyringError. `exports` has the code files. `now` is aware. `deep`
    checks every code and every history, not only samples. `repair` repairs derived data, never the data it is derived
    from. `behind` says in what the database is older than others know it. `heads` returns the countersigned heads of the audit
    log; None checks the log without them. `patience` is how long (seconds) a check waits for work that other processes are about
    to do; `pause` sleeps.
    """

    engine: Engine
    redis: AnyRedis
    exports: CodeFolder
    keyring: Callable[[], Keyring]
    now: datetime
    behind: Callable[[], Sequence[BehindEvidence]] = tuple
    deep: bool = False
    repair: bool = False
    heads: Callable[[], CountersignedHeads] | None = None
    patience: float = 7.0
    pause: Callable[[float], None] = time.sleep


Check = Callable[[CheckContext, CheckResult], None]
