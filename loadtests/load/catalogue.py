"""The profiles by name. This module does not import Locust, so the command line and the tests can use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from loadtests.load import curves
from loadtests.users.ledger import RECALLED


@dataclass(frozen=True, slots=True)
class Profile:
    """One pattern of load. `name` is its locustfile in `profiles/` and its table in thresholds.toml.

    `points` gives its curve for a run of so many seconds, `rate` is the default number of scans a second at the highest
    point. `official` profiles use the authority's API with the keys of the sample. `uncertain` are subjects of the ledger
    whose state is unknown until the regulator announces it.
    """

    name: str
    zh: str
    en: str
    points: Callable[[float], list[tuple[float, float]]]
    rate: float
    official: bool = False
    uncertain: tuple[str, ...] = ()


_ALL: Final = (
    Profile("ordinary", "平常日", "an ordinary day", curves.day, 60),
    Profile("double11", "双11", "Singles' Day", curves.rush, 200),
    Profile("recall", "晚间新闻召回", "a recall in the evening news", curves.news, 100, official=True, uncertain=(RECALLED,)),
    Profile("scraper", "刷号", "a scraper guessing serials", curves.level, 60),
    Profile("lines", "产线与监管", "lines issue, a regulator revokes", curves.level, 60, official=True),
)  # fmt: skip
PROFILES: Final = {profile.name: profile for profile in _ALL}


def find(name: str) -> Profile | None:
    """A profile by its Chinese name or its short name; None where there is none."""
    return next((profile for profile in _ALL if name in {profile.name, profile.zh}), None)
