"""All attacks: who the attacker is, and what must hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.attack import api, codes, complaints, credentials, floods, ranks, scans, uploads
from tests.attack.target import Attempts, Target


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack. `run` tries everything and yields each try; its docstring says what must hold."""

    attacker: str
    run: Callable[[Target], Attempts]

    @property
    def name(self) -> str:
        """Its name on the command line."""
        return self.run.__name__.replace("_", "-")

    @property
    def claim(self) -> str:
        """What must hold."""
        return " ".join((self.run.__doc__ or "").split())


STRANGER, KEY, SCAN, AUTHORITY = "a stranger", "an API key", "the scan service", "the authority"
ATTACKS = (
    Attack(STRANGER, codes.changed_codes),
    Attack(STRANGER, codes.guessed_codes),
    Attack(STRANGER, api.without_a_key),
    Attack(STRANGER, api.ambiguous_requests),
    Attack(STRANGER, complaints.posts_of_another_site),
    Attack(STRANGER, complaints.silenced_complaints),
    Attack(STRANGER, complaints.script_in_fields),
    Attack(STRANGER, floods.complaints_of_one_provider),
    Attack(STRANGER, floods.held_forms),
    Attack(STRANGER, scans.many_user_agents),
    Attack(KEY, api.with_a_lower_key),
    Attack(KEY, ranks.decisions_that_fill_a_card),
    Attack(KEY, uploads.costly_pictures),
    Attack(KEY, uploads.costly_workbooks),
    Attack(SCAN, credentials.commands_of_the_scan_account),
    Attack(SCAN, credentials.queries_of_the_scan_account),
    Attack(SCAN, credentials.functions_of_the_readers),
    Attack(SCAN, credentials.histories_of_the_scan_account),
    Attack(AUTHORITY, credentials.rewritten_records),
    Attack(AUTHORITY, credentials.frames_to_the_signer),
)
