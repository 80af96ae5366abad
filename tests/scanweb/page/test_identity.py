"""The identity of a page: the official address and the root key, in forms that a browser and a person can check."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

from pathlib import Path

import pytest

from keys.keyring import fingerprint
from scanweb.page.identity import SiteIdentity
from tests.support.keyroom import key_room
from zpcode.errors import KeyringError


def test_the_root_is_the_body_of_its_pem_and_the_fingerprint_that_of_the_ceremony(tmp_path: Path) -> None:
    pem = key_room(tmp_path).root_public.read_bytes()
    official = SiteIdentity.of("https://zp.example", pem)
    assert official.base == "https://zp.example"
    assert official.root == "".join(pem.decode().splitlines()[1:-1])
    assert official.fingerprint == fingerprint(pem)


def test_what_is_no_public_key_is_refused() -> None:
    with pytest.raises(KeyringError, match="root public key"):
        SiteIdentity.of("https://zp.example", b"-----BEGIN PUBLIC KEY-----")
