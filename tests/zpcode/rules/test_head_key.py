"""The code beside the marks of a head shows that this installation wrote exactly these bytes."""

from __future__ import annotations

import hashlib
import hmac

from zpcode.rules.head_key import HeadKey, maker

ONE = HeadKey.derived(b"\x01" * 32)
OTHER = HeadKey.derived(b"\x02" * 32)
MARKS = b'{"installation":"i","revision":7}'


def test_the_key_is_hkdf_of_the_file_key_with_its_own_label() -> None:
    """RFC 5869 with an empty salt, in two lines: nothing else of the installation has this key."""
    extracted = hmac.digest(b"\0" * 32, b"\x01" * 32, "sha256")
    assert ONE.secret == hmac.digest(extracted, b"zpcode-head-key/1\n\x01", "sha256")
    assert ONE.fingerprint == hashlib.sha256(b"zpcode-head-fingerprint/1\n" + ONE.secret).hexdigest()[:32]


def test_only_the_key_that_made_a_code_says_so_and_only_for_these_marks() -> None:
    code = ONE.code(MARKS)
    assert ONE.made(MARKS, code)
    assert maker([OTHER, ONE], MARKS, code) is ONE
    assert maker([OTHER], MARKS, code) is None
    assert not ONE.made(MARKS.replace(b"7", b"8"), code)
    assert not ONE.made(MARKS, code[:-1])
    assert not ONE.made(MARKS, b"")
    assert not ONE.made(b"", ONE.code(b""))
    assert not ONE.made(MARKS, OTHER.fingerprint.encode() + code[32:])


def test_a_key_shows_its_secret_nowhere() -> None:
    assert repr(ONE.secret) not in repr(ONE)
