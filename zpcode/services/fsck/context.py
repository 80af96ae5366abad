"""What a check may look at, and how closely."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from keys.keyring import Keyring
from zpcode.projection.client import AnyRedis
from zpcode.services.fsck.report import CheckResult
from zpcode.store.database.session import Engine


@dataclass(frozen=True, slots=True)
class CheckContext:
    """The parts of a running service. `deep` looks at every code and every history, not at samples of them.

    `keyring` gives the public keyring or raises KeyringError; `directory` has the code files; `now` is aware.
    `repair` puts right what is derived, never what it is derived from. `patience` is how many seconds something
    that others are just about to do may take, and `pause` waits so long.
    """

    engine: Engine
    redis: AnyRedis
    directory: Path
    keyring: Callable[[], Keyring]
    now: datetime
    deep: bool = False
    repair: bool = False
    patience: float = 7.0
    pause: Callable[[float], None] = time.sleep


Check = Callable[[CheckContext, CheckResult], None]
