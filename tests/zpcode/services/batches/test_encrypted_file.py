"""The encrypted file alone: what is written is read back from any offset, and every change on disk is noticed."""

from __future__ import annotations

import hmac
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from zpcode.services.batches.encrypted_file import (
    CHUNK_BYTES,
    DecryptedFile,
    EncryptedAppender,
    content_bytes,
    disk_bytes,
)
from zpcode.services.batches.file_cipher import HEADER_BYTES, Content, DamagedFile, FileCipher, FileHeader, FileLabel
from zpcode.services.batches.file_keys import EncryptionKey

KEY = EncryptionKey(bytes(range(32)))
LABEL = FileLabel(13, b"sixteen bytes ok", "K7QX", Content.CODES)
SIZES = st.integers(0, 3 * CHUNK_BYTES + 5) | st.sampled_from(
    [CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES]
)


def written(path: Path, *parts: bytes, finish: bool = True) -> FileCipher:
    """A file with these parts, and its cipher."""
    cipher = FileCipher.fresh(KEY, LABEL)
    with path.open("w+b") as file:
        file.write(cipher.header)
        appender = EncryptedAppender(file, cipher)
        appender.truncate(0)
        for part in parts:
            appender.append(part)
        if finish:
            appender.finish()
    return cipher


@contextmanager
def opened(path: Path, *, complete: bool = True) -> Iterator[io.BufferedReader]:
    """The content of a file, after its header was checked."""
    with path.open("rb") as file:
        header = FileHeader.parse(file.read(HEADER_BYTES))
        assert header is not None
        assert header.label == LABEL
        yield io.BufferedReader(DecryptedFile(file, FileCipher.of(KEY, header), complete=complete))


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(SIZES, min_size=1, max_size=4), data=st.data())
def test_every_range_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    """Whatever the sizes of the parts are, and whether or not the file is finished."""
    path = tmp_path_factory.mktemp("file") / "file"
    parts = [os.urandom(size) for size in sizes]
    whole = b"".join(parts)
    finish = data.draw(st.booleans())
    written(path, *parts, finish=finish)
    assert path.stat().st_size == disk_bytes(len(whole))
    assert content_bytes(path.stat().st_size) == len(whole)
    first = data.draw(st.integers(0, len(whole)))
    last = data.draw(st.integers(first, len(whole)))
    with opened(path, complete=finish) as file:
        assert file.seek(0, os.SEEK_END) == len(whole)
        file.seek(first)
        assert file.read(last - first) == whole[first:last]


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 2 * CHUNK_BYTES + 5), keep=st.integers(0, 2 * CHUNK_BYTES + 5), more=SIZES)
def test_a_file_is_cut_anywhere_and_continued(
    tmp_path_factory: pytest.TempPathFactory, size: int, keep: int, more: int
) -> None:
    """As after a crash: the first bytes stay, others follow."""
    path, keep = tmp_path_factory.mktemp("file") / "file", min(size, keep)
    first, second = os.urandom(size), os.urandom(more)
    cipher = written(path, first, finish=False)
    with path.open("r+b") as file:
        appender = EncryptedAppender(file, cipher)
        appender.truncate(keep, DecryptedFile(file, cipher, complete=False))
        appender.append(second)
        appender.finish()
    with opened(path) as file:
        assert file.read() == first[:keep] + second


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, disk_bytes(2 * CHUNK_BYTES + 100) - 1), bit=st.integers(0, 7))
def test_one_changed_bit_is_noticed_wherever_it_is(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    """In the header or in a chunk."""
    path = tmp_path_factory.mktemp("file") / "file"
    written(path, bytes(2 * CHUNK_BYTES + 100))
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1 << bit
    path.write_bytes(raw)
    with pytest.raises((DamagedFile, AssertionError)), opened(path) as file:
        file.read()


def test_chunks_are_not_exchanged_left_out_or_cut_off(tmp_path: Path) -> None:
    """Each chunk is bound to its index, to its file, and to whether it is the last."""
    path, other, step = tmp_path / "one", tmp_path / "other", CHUNK_BYTES + 28
    written(path, bytes(3 * CHUNK_BYTES))
    written(other, bytes(3 * CHUNK_BYTES))
    raw, foreign = path.read_bytes(), other.read_bytes()
    head, *chunks = raw[:HEADER_BYTES], *(raw[HEADER_BYTES + index * step :][:step] for index in range(3))
    for changed in (
        [chunks[1], chunks[0], chunks[2]],
        [chunks[0], chunks[2]],
        [chunks[0], chunks[1]],
        [chunks[0], chunks[1], chunks[2], chunks[2]],
        [foreign[HEADER_BYTES:][:step], chunks[1], chunks[2]],
        [],
    ):
        path.write_bytes(head + b"".join(changed))
        with pytest.raises(DamagedFile), opened(path) as file:
            file.read()


def test_an_unfinished_file_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    written(tmp_path / "file", b"codes", finish=False)
    with pytest.raises(DamagedFile), opened(tmp_path / "file") as file:
        file.read()


def test_the_same_content_is_never_encrypted_the_same_way(tmp_path: Path) -> None:
    """Neither a file that is written again nor a chunk that is written again repeats key and nonce."""
    ciphers = [written(tmp_path / name, b"the same content") for name in ("one", "two")]
    one, two = ((tmp_path / name).read_bytes() for name in ("one", "two"))
    assert one[HEADER_BYTES:] != two[HEADER_BYTES:]
    assert ciphers[0].header != ciphers[1].header
    assert len({ciphers[0].seal(0, b"the same content", last=False)[:12] for _ in range(1000)}) == 1000
    assert b"the same content" not in one


def test_the_file_key_is_not_enough_to_change_the_label(tmp_path: Path) -> None:
    """A file cannot be given to another batch by a change of its header."""
    path = tmp_path / "file"
    written(path, b"codes")
    raw = path.read_bytes()
    path.write_bytes(raw[:16] + (14).to_bytes(4, "little") + raw[20:])
    header = FileHeader.parse(path.read_bytes()[:HEADER_BYTES])
    assert header is not None
    assert header.label.number == 14
    with pytest.raises(DamagedFile):
        FileCipher.of(KEY, header)


def test_a_file_is_read_by_its_description_alone() -> None:
    """Key derivation, header and chunk written out with RFC 5869 and ADR 9: a file of today is read by later versions."""
    salt = bytes(range(32, 64))
    fields = (
        b"zpcodes\x01" + KEY.id + (13).to_bytes(4, "little") + b"K7QX" + b"C" + bytes(7) + b"sixteen bytes ok" + salt
    )
    extracted = hmac.digest(salt, KEY.secret, "sha256")
    first = hmac.digest(extracted, b"zpcode-file/1\n" + fields + b"\x01", "sha256")
    second = hmac.digest(extracted, first + b"zpcode-file/1\n" + fields + b"\x02", "sha256")
    header = FileHeader.parse(fields + hmac.digest(second, fields, "sha256")[:16])
    assert header is not None
    assert header.label == LABEL
    place = (5).to_bytes(8, "little") + b"\x01"
    chunk = bytes(12) + AESGCM(first).encrypt(bytes(12), b"codes", place)
    assert FileCipher.of(KEY, header).open(5, chunk, last=True) == b"codes"
