"""Key rooms, sealed codes and running signers for the tests that need them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from keys import ceremony
from keys.ceremony import KeyRoom
from keys.client import SignerClient
from keys.document import Document, KeyPurpose, assembled, body_of, signed_bytes_of
from keys.keyring import Keyring
from keys.signer import FileKey, decrypted, key_path
from tests.support.patience import eventually
from zpcode.errors import SignerError, SignerUnavailable
from zpcode.wire.payload import Code, Identity, Seal, Serial, signed_bytes

GTIN = "09501101530003"
PASSPHRASE = b"passphrase of the signing keys"
ROOT_PASSPHRASE = b"passphrase of the root key"
YEAR = timedelta(days=365)
PRODUCT = Identity(GTIN)
LOT = Identity(GTIN, lot="L-2026.1")
ITEM = Identity(GTIN, serial=Serial(7, 123_456_789))


def key_room(folder: Path) -> KeyRoom:
    """A room with a root key and nothing else yet."""
    room = KeyRoom(folder / "keys", folder / "keyring.json", folder / "root.key.pem", folder / "root.pub.pem")
    ceremony.create_root(room, root_passphrase=ROOT_PASSPHRASE)
    return room


def create(room: KeyRoom, now: datetime, validity: timedelta = YEAR) -> str:
    """A first key, active."""
    return ceremony.create_key(room, passphrase=PASSPHRASE, root_passphrase=ROOT_PASSPHRASE, now=now, validity=validity)


def create_audit_key(room: KeyRoom, now: datetime) -> str:
    """A first key for audit heads, active."""
    return ceremony.create_key(
        room,
        passphrase=PASSPHRASE,
        root_passphrase=ROOT_PASSPHRASE,
        now=now,
        validity=YEAR,
        purpose=KeyPurpose.AUDIT_HEAD,
    )


def rotate(room: KeyRoom, now: datetime, validity: timedelta = YEAR) -> str:
    """Another key, active."""
    return ceremony.rotate(room, passphrase=PASSPHRASE, root_passphrase=ROOT_PASSPHRASE, now=now, validity=validity)


def retire(room: KeyRoom, key_id: str, now: datetime) -> None:
    """End a key's signing."""
    ceremony.retire(room, key_id, statement=None, root_passphrase=ROOT_PASSPHRASE, now=now)


def revoke(room: KeyRoom, key_id: str, now: datetime) -> None:
    """Withdraw the trust in a key."""
    ceremony.revoke(room, key_id, reason="私钥泄露", root_passphrase=ROOT_PASSPHRASE, now=now)


def ring(room: KeyRoom) -> Keyring:
    """The keyring as a reader gets it."""
    return Keyring.load(room.keyring.read_bytes(), room.root_public.read_bytes())


def private(room: KeyRoom, key_id: str) -> FileKey:
    """A private key, opened."""
    return decrypted(key_path(room.keys_dir, key_id), PASSPHRASE)


def seal(room: KeyRoom, key_id: str, identity: Identity) -> Code:
    """A code as the signer would seal it."""
    return Code(identity, Seal(key_id, private(room, key_id).sign_raw(signed_bytes(key_id, identity.path))))


def signed_by_root(room: KeyRoom, content: Document) -> bytes:
    """A keyring document of any content with a valid root signature."""
    root = decrypted(room.root_key, ROOT_PASSPHRASE)
    body = body_of(content)
    return assembled(
        body, ring(room).document.split(b'"root": "')[1][:4].decode(), root.sign_raw(signed_bytes_of(body))
    )


class RunningSigner:
    """`zpkeys serve` as a process, on a room with one active key of each purpose, made at the real time."""

    def __init__(self, *, processes: int = 2, allowed_uids: str = "[]") -> None:
        self.home = Path(tempfile.mkdtemp(prefix="zp-"))  # short: a socket path has at most 107 bytes
        self.home.chmod(0o755)
        self.room = key_room(self.home)
        self.key_id = create(self.room, datetime.now(UTC))
        self.audit_key = create_audit_key(self.room, datetime.now(UTC))
        self.socket, self.log = self.home / "run/signer.sock", self.home / "log/signer.jsonl"
        self.words = self.home / "words"
        self.words.write_bytes(PASSPHRASE + b"\n")
        self.words.chmod(0o600)
        self.environment = os.environ | {
            "ZPCODE_HOME": str(self.home),
            "ZPCODE_KEY_PASSPHRASE_FILE": str(self.words),
            "ZPCODE_SIGNER_PROCESSES": str(processes),
            "ZPCODE_SIGNER_ALLOWED_UIDS": allowed_uids,
        }
        self.processes = processes
        self.client = SignerClient(self.socket, timeout=120)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self.home)

    def start(self) -> None:
        """Start the signer and wait until it answers and all its processes run."""
        self.errors = (self.home / "stderr").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "keys", "serve"], env=self.environment, stderr=self.errors
        )
        eventually(lambda: self.answers() and len(self.children()) == self.processes)

    def answers(self) -> bool:
        """Whether it answers; a refusal is an answer."""
        try:
            self.client.active_key()
        except SignerUnavailable:
            return False
        except SignerError:
            return True
        return True

    def children(self) -> list[int]:
        """The process ids of its signing processes."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        self.errors.close()
        return self.process.wait(20)


def is_running(pid: int) -> bool:
    """Whether a process is there and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
