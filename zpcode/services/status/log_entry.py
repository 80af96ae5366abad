"""The audit entry of a decision: one form, whether somebody made the decision or a recovery entered it again."""

from __future__ import annotations

from collections.abc import Mapping

from zpcode.rules.access import Caller
from zpcode.rules.status.permissions import StatusChange
from zpcode.rules.status.records import audit_detail
from zpcode.store import audit
from zpcode.store.database.session import Connection


def enter_in_log(
    connection: Connection, decided: StatusChange, caller: Caller, more: Mapping[str, object] | None = None
) -> None:
    """Append the entry of a decision. `more` says why it is in the log if nobody made it just now."""
    audit.append(
        connection,
        at=decided.created_at,
        actor=caller.name,
        action=f"status.{decided.action}",
        object_=f"{decided.scope}:{decided.target}",
        detail={**audit_detail(decided), **(more or {})},
    )
