"""The folder of the sockets has a name that another user can guess: what he puts there is neither used nor changed."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from tests.support.strange_files import LINK, STRANGE, put
from zpcode.embedded import socket_folders
from zpcode.embedded.servers import Servers
from zpcode.errors import Unavailable

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder away")
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder in which everybody may make folders, like /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def test_a_link_in_its_place_is_refused_and_what_it_names_stays_as_it_is(shared: Path, tmp_path: Path) -> None:
    """Before, root gave the folder that the link names to PostgreSQL's user."""
    target = tmp_path / "etc"
    target.mkdir(mode=0o700)
    before = target.stat()
    (shared / "sockets").symlink_to(target)
    with pytest.raises(Unavailable, match="is not a folder"):
        socket_folders.make(shared / "sockets", NOBODY)
    after = target.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)


@pytest.mark.parametrize("kind", [kind for kind in STRANGE | LINK if kind != "a folder"])
def test_what_is_no_folder_is_refused(shared: Path, kind: str) -> None:
    put(kind, shared / "sockets")
    with pytest.raises(Unavailable, match="is not a folder"):
        socket_folders.make(shared / "sockets")


@ROOT
def test_a_folder_of_another_user_is_refused(shared: Path) -> None:
    (shared / "sockets").mkdir()
    os.chown(shared / "sockets", 65533, 65533)
    for owner in (None, NOBODY):
        with pytest.raises(Unavailable, match="belongs to another user"):
            socket_folders.make(shared / "sockets", owner)
    assert (shared / "sockets").stat().st_uid == 65533


def test_a_place_where_others_may_exchange_folders_is_refused(shared: Path) -> None:
    shared.chmod(0o777)
    with pytest.raises(Unavailable, match="others may exchange"):
        socket_folders.make(shared / "sockets")


def test_a_folder_that_is_there_from_an_earlier_start_is_taken(shared: Path) -> None:
    for _ in range(2):
        socket_folders.make(shared / "sockets")
    assert (shared / "sockets").stat().st_mode & 0o022 == 0


@ROOT
def test_the_servers_refuse_a_link_and_give_only_the_inner_folder_to_the_user_of_postgresql(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That user could otherwise replace the socket of Valkey, and let root write where he wants."""
    monkeypatch.setattr(socket_folders, "parent", lambda: shared)
    both = Servers(tmp_path / "home")
    assert both.user is not None
    both.sockets.symlink_to(tmp_path)
    with pytest.raises(Unavailable):
        both.make_sockets()
    both.sockets.unlink()
    both.make_sockets()
    assert (both.sockets.stat().st_uid, both.postgres_sockets.stat().st_uid) == (0, both.user.pw_uid)


@ROOT
def test_root_has_its_sockets_where_nobody_else_can_make_folders() -> None:
    assert socket_folders.parent().stat().st_mode & 0o022 == 0 or not os.access("/run", os.W_OK)
