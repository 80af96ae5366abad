"""Settings that are wrong: what the message says, and what it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keys import settings as keys
from scanweb import settings as scanweb
from zpcode import settings as authority


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (authority.load, "ZPCODE_PICTURES"),
        (scanweb.load, "ZPCODE_PICTURES"),
        (keys.load, "ZPCODE_SIGNER_ALLOWED_UIDS"),
    ],
)
def test_a_wrong_value_is_not_repeated(load: Callable[[], object], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address may have a password, and messages end up in logs."""
    monkeypatch.setenv(name, '["s3://user:top-secret@storage.example"]')
    with pytest.raises(ValueError, match=name) as refused:
        load()
    assert "top-secret" not in str(refused.value)


def test_every_wrong_setting_is_named_as_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZPCODE_CODE_FILE_DAYS", "x")
    monkeypatch.setenv("ZPCODE_PUBLIC_BASE", "y")
    with pytest.raises(ValueError, match=r"^ZPCODE_PUBLIC_BASE: .*; ZPCODE_CODE_FILE_DAYS: Input should be [^;]*$"):
        authority.load()


def test_a_message_begins_with_the_setting_and_the_words_of_its_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZPCODE_SIGNER_HIGHEST_BATCH", "many")
    with pytest.raises(ValueError, match=r"^ZPCODE_SIGNER_HIGHEST_BATCH: 应为序号，或“序号@YYYY-MM-DD” / must be"):
        keys.load()
