"""API keys: what is stored of them, the caller that a key identifies, and the command line that makes them."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text
from typer.testing import CliRunner

from tests.support.authority import OPERATOR
from tests.support.registry_data import as_json, registry, uscc
from zpcode.cli import access as commands
from zpcode.embedded.servers import ServerAddresses
from zpcode.errors import Forbidden, NotFound, Refused
from zpcode.rules.access import Caller, Role, parse_token
from zpcode.services import access
from zpcode.services.registry.importing import import_registry
from zpcode.store import audit
from zpcode.store.database.session import transaction

TOKEN = re.compile(r"zpk_[0-9A-HJKMNP-TV-Z]{12}_[A-Z2-7]{52}")


@pytest.fixture
def registered(engine: Engine, now: datetime) -> Engine:
    """A database with one enterprise."""
    import_registry(engine, as_json(registry()), actor=OPERATOR.name, now=now)
    return engine


def _rows(engine: Engine) -> list[Any]:
    with transaction(engine) as connection:
        return list(connection.execute(text("SELECT * FROM api_key ORDER BY id")))


def test_only_the_hash_of_a_secret_is_stored(registered: Engine, now: datetime) -> None:
    """The secret is nowhere in the database: neither with the key nor in the audit log."""
    made = access.create(registered, Role.ENTERPRISE, uscc(), "line 2", caller=OPERATOR, now=now)
    assert TOKEN.fullmatch(made.token)
    secret = made.token.split("_")[2]
    (row,) = _rows(registered)
    assert bytes(row.secret_hash) == hashlib.sha256(secret.encode()).digest()
    with transaction(registered) as connection:
        entries = [entry for entry, _, _ in audit.entries(connection)]
    assert secret not in str(row) + str(entries) + repr(made)
    assert (entries[-1].action, entries[-1].actor) == ("access.create", OPERATOR.name)
    digest = hashlib.sha256(row.secret_hash).hexdigest()
    assert entries[-1].detail == {"role": "enterprise", "subject": uscc(), "label": "line 2", "secret": digest}


def test_no_two_keys_are_alike(engine: Engine, now: datetime) -> None:
    """Neither half."""
    made = [access.create(engine, Role.OPERATOR, "*", "a test", caller=OPERATOR, now=now).token for _ in range(20)]
    for half in (1, 2):
        assert len({token.split("_")[half] for token in made}) == 20


def test_a_key_identifies_its_holder(registered: Engine, now: datetime) -> None:
    """Role, subject, and the key's own id as credential."""
    made = access.create(registered, Role.ENTERPRISE, uscc(), "a test", caller=OPERATOR, now=now)
    assert access.authenticate(registered, made.token, now) == Caller(Role.ENTERPRISE, uscc(), made.key.id)


def test_no_other_text_is_a_key(engine: Engine, now: datetime) -> None:
    """Every character of a key counts, and its case."""
    token = access.create(engine, Role.OPERATOR, "*", "a test", caller=OPERATOR, now=now).token
    for at in range(len(token)):
        other = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        assert access.authenticate(engine, other, now) is None
    for other in ("", token.lower(), token + "A", token[:-1], f" {token}", token + "\n", token.replace("_", "-")):
        assert access.authenticate(engine, other, now) is None
    assert access.authenticate(engine, token, now) is not None


def test_an_unknown_id_takes_the_same_path_as_a_wrong_secret(
    engine: Engine, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request makes one comparison in constant time."""
    made = access.create(engine, Role.OPERATOR, "*", "a test", caller=OPERATOR, now=now)
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def spy(left: bytes, right: bytes) -> bool:
        compared.append((left, right))
        return real(left, right)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    for token in (f"zpk_{made.key.id}_{'A' * 52}", f"zpk_000000000000_{made.token.split('_')[2]}", "nonsense"):
        assert access.authenticate(engine, token, now) is None
    assert len(compared) == 3
    assert {len(half) for pair in compared for half in pair} == {32}


def test_a_revoked_key_is_refused_and_revoking_is_audited_once(engine: Engine, now: datetime) -> None:
    """Doing it again changes nothing."""
    made = access.create(engine, Role.OPERATOR, "*", "a test", caller=OPERATOR, now=now)
    later = now + timedelta(hours=1)
    first = access.revoke(engine, made.key.id, caller=OPERATOR, now=now)
    assert access.revoke(engine, made.key.id, caller=OPERATOR, now=later) == first
    assert access.authenticate(engine, made.token, later) is None
    with transaction(engine) as connection:
        actions = [entry.action for entry, _, _ in audit.entries(connection)]
    assert actions == ["access.create", "access.revoke"]
    with pytest.raises(NotFound):
        access.revoke(engine, "000000000000", caller=OPERATOR, now=now)


def test_use_is_noted_at_most_once_a_minute(engine: Engine, now: datetime) -> None:
    """A busy key is not a busy row."""
    made = access.create(engine, Role.OPERATOR, "*", "a test", caller=OPERATOR, now=now)
    assert _rows(engine)[0].last_used_at is None
    for seconds, noted in ((0, 0), (59, 0), (60, 60), (90, 60), (121, 121)):
        access.authenticate(engine, made.token, now + timedelta(seconds=seconds))
        assert _rows(engine)[0].last_used_at == now + timedelta(seconds=noted)


@pytest.mark.parametrize(
    ("role", "subject", "reason"),
    [
        (Role.ENTERPRISE, "91330100MA2T000010", "subject"),
        (Role.ENTERPRISE, "", "subject"),
        (Role.ENTERPRISE, uscc(9), "not_registered"),
        (Role.REGULATOR, "110000", "subject"),
        (Role.REGULATOR, "33", "subject"),
        (Role.REGULATOR, "330103", "subject"),
        (Role.OPERATOR, "x", "subject"),
    ],
)
def test_a_key_for_an_unknown_subject_is_refused(
    registered: Engine, now: datetime, role: Role, subject: str, reason: str
) -> None:
    """Not a USCC, not registered, not a region of Zhejiang, not the operator."""
    with pytest.raises(Refused) as refused:
        access.create(registered, role, subject, "a test", caller=OPERATOR, now=now)
    assert refused.value.reasons == (reason,)
    assert _rows(registered) == []


@pytest.mark.parametrize("label", ["", "  ", "x" * 101, "a\x00", "\ud800"])
def test_a_label_is_there_short_and_printable(engine: Engine, now: datetime, label: str) -> None:
    """A key without a label could be anybody's. A label ends in a terminal."""
    with pytest.raises(Refused):
        access.create(engine, Role.OPERATOR, "*", label, caller=OPERATOR, now=now)


@pytest.mark.parametrize("role", [Role.ENTERPRISE, Role.REGULATOR])
def test_only_the_operator_makes_lists_and_revokes_keys(engine: Engine, now: datetime, role: Role) -> None:
    """No other role can make keys."""
    caller = Caller(role, "330000", "K")
    for attempt in (
        lambda: access.create(engine, Role.OPERATOR, "*", "a test", caller=caller, now=now),
        lambda: access.revoke(engine, "000000000000", caller=caller, now=now),
        lambda: access.listing(engine, caller),
    ):
        with pytest.raises(Forbidden):
            attempt()


@pytest.fixture
def shell(addresses: ServerAddresses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """The command line, on this test's database."""
    monkeypatch.setenv("ZPCODE_DATABASE_URL", addresses.database)
    monkeypatch.setenv("ZPCODE_HOME", str(tmp_path))
    return CliRunner()


def test_the_command_line_makes_lists_and_revokes(shell: CliRunner, registered: Engine, now: datetime) -> None:
    """The token is printed once, alone on standard output, so that a script can store it."""
    made = shell.invoke(commands.app, ["create", "--enterprise", uscc(), "--label", "MES"])
    assert made.exit_code == 0
    token = made.stdout.strip()
    caller = access.authenticate(registered, token, now)
    assert caller is not None
    assert (caller.role, caller.subject) == (Role.ENTERPRISE, uscc())
    halves = parse_token(token)
    assert halves is not None
    id_, secret = halves
    listed = shell.invoke(commands.app, ["list"])
    assert id_ in listed.stdout
    assert "MES" in listed.stdout
    assert secret not in listed.stdout + made.stderr
    assert shell.invoke(commands.app, ["revoke", id_]).exit_code == 0
    assert "revoked" in shell.invoke(commands.app, ["list"]).stdout
    assert access.authenticate(registered, token, now) is None
    with transaction(registered) as connection:
        actors = {entry.actor for entry, _, _ in audit.entries(connection) if entry.action.startswith("access.")}
    assert all(actor.startswith("operator:*:cli:") for actor in actors)


@pytest.mark.parametrize(("option", "role", "subject"), [(["--regulator", "330100"], Role.REGULATOR, "330100"), (["--operator"], Role.OPERATOR, "*")])  # fmt: skip
def test_the_command_line_makes_keys_for_the_other_roles(
    shell: CliRunner, engine: Engine, now: datetime, option: list[str], role: Role, subject: str
) -> None:
    """A regulator of a region, an operator."""
    caller = access.authenticate(
        engine, shell.invoke(commands.app, ["create", *option, "--label", "x"]).stdout.strip(), now
    )
    assert caller is not None
    assert (caller.role, caller.subject) == (role, subject)


@pytest.mark.parametrize("options", [[], ["--operator", "--regulator", "330100"]])
def test_the_command_line_wants_exactly_one_role(shell: CliRunner, engine: Engine, options: list[str]) -> None:
    """None and two are usage errors."""
    assert shell.invoke(commands.app, ["create", *options, "--label", "x"]).exit_code == 2
    assert _rows(engine) == []
