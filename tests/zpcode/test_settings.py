"""Settings that are wrong: what the message says, and what it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from keys import settings as keys
from scanweb import settings as scanweb
from zpcode import settings as authority


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (authority.load, "ZPCODE_PICTURES"),
        (scanweb.ScanSettings, "ZPCODE_PICTURES"),
        (keys.load, "ZPCODE_SIGNER_ALLOWED_UIDS"),
    ],
)
def test_a_wrong_value_is_not_repeated(load: Callable[[], object], name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address may have a password, and messages end up in logs."""
    monkeypatch.setenv(name, '["s3://user:top-secret@storage.example"]')
    with pytest.raises(ValidationError) as refused:
        load()
    assert name.removeprefix("ZPCODE_").lower() in str(refused.value)
    assert "top-secret" not in str(refused.value)
