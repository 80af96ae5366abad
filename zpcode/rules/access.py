"""Who is asking: the caller behind an API key or a command line, and what lies within their reach."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Role(enum.StrEnum):
    """The three kinds of caller."""

    ENTERPRISE = "enterprise"
    REGULATOR = "regulator"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller. `subject` is a USCC, a GB/T 2260 region code (6 digits), or `*` for the operator.

    `credential` names the API key (or `cli:USER` for a command line) in the audit log.
    """

    role: Role
    subject: str
    credential: str

    @property
    def name(self) -> str:
        """How the audit log names this caller."""
        return f"{self.role}:{self.subject}:{self.credential}"

    def reaches(self, uscc: str, region: str) -> bool:
        """Whether an enterprise lies within this caller's reach.

        A region code ends in zeros where it stands for a whole province or city, so a regulator's
        region without its trailing pairs of zeros is a prefix of every region under it (GB/T 2260).
        """
        if self.role is Role.OPERATOR:
            return True
        if self.role is Role.ENTERPRISE:
            return self.subject == uscc
        return region.startswith(region_prefix(self.subject))


def region_prefix(region: str) -> str:
    """The part of a region code that its sub-regions share: 330000 → 33, 330100 → 3301, 330106 → 330106."""
    while len(region) > 2 and region.endswith("00"):
        region = region[:-2]
    return region
