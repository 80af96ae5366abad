"""The signer as a service: how one of its processes answers requests.

A process answers one request at a time, so the kernel gives the next one to an idle process. Connections that stall wait beside it
(`keys.sockets.connections`). SO_PEERCRED gives the client's user before anything is read.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from keys.keyring import KeyringFile, read_root
from keys.log.ceiling import NOTHING, ReachedValue
from keys.log.writer import SigningLog
from keys.messages import refusal
from keys.protocol import (
    ActiveKey,
    Countersign,
    DescribeKey,
    HighWater,
    ReadLog,
    Request,
    SignerReply,
    frame,
)
from keys.signer import KeySigner
from keys.sockets.connections import Connections
from keys.sockets.prefork import Prefork
from zpcode.errors import KeyringError, SignerError

_LOG = logging.getLogger(__name__)
_REQUESTS: Final = msgspec.msgpack.Decoder(Request)


@dataclass(frozen=True, slots=True)
class Service:
    """A signer to run: its files, its socket, its number of processes (0: one for each core).

    The users in `allowed_uids` may send requests, and so may the user it runs as. The batch number and the audit entry
    given here count as reached, and what is plausible after them is accepted.
    """

    keyring: Path
    root_public: Path
    keys_dir: Path
    log: Path
    socket: Path
    passphrase: bytes = field(repr=False)
    processes: int = 0
    allowed_uids: frozenset[int] = frozenset()
    highest_batch: ReachedValue = NOTHING
    highest_audit_entry: ReachedValue = NOTHING

    @property
    def uids(self) -> frozenset[int]:
        """The ids of all users that may send requests."""
        return self.allowed_uids | {os.geteuid()}

    @property
    def mode(self) -> int:
        """The socket's mode: for the own user only, or for the group too if other users are permitted."""
        return 0o600 if self.uids == {os.geteuid()} else 0o660

    def signer(self) -> KeySigner:
        """A signer with these files. Raises KeyringError if the keyring or the log cannot be used."""
        ring = KeyringFile(self.keyring, read_root(self.root_public), time.monotonic)
        return KeySigner(
            ring,
            self.keys_dir,
            self.passphrase,
            SigningLog(self.log),
            lambda: datetime.now(UTC),
            highest_batch=self.highest_batch,
            highest_audit_entry=self.highest_audit_entry,
        )


def run(service: Service) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises KeyringError if the active key cannot be loaded or does not match the keyring, SignerError if the socket cannot be
    opened: a signer that could not sign does not start.
    """
    _check_active_key(service.signer())

    def child(listener: socket.socket, parent_gone: int) -> None:
        answered = partial(_answered, service.signer(), service.uids)
        Connections(listener, service.uids, answered).serve(parent_gone)

    Prefork(service.socket, service.mode, service.processes or os.cpu_count() or 1, child).run()


def _check_active_key(signer: KeySigner) -> None:
    try:
        signer.load_active()
    except SignerError as error:  # no key is active; one may be created while the signer runs
        _LOG.warning("%s", error.text.en)


def _answered(signer: KeySigner, uids: frozenset[int], body: bytes | None, uid: int) -> bytes:
    """The frame that answers the body of a frame from a user; None stands for a user or a frame that is not permitted."""
    return frame(_reply(signer, uids, body, uid))


def _reply(signer: KeySigner, uids: frozenset[int], body: bytes | None, uid: int) -> SignerReply:
    if uid not in uids:
        _LOG.warning("user %d is not permitted", uid)
        return _refused(refusal(f"用户 {uid} 无权使用", f"user {uid} is not permitted"))
    try:
        request = _REQUESTS.decode(body or b"")
    except (ValueError, msgspec.MsgspecError):
        _LOG.warning("a frame from user %d is not a request", uid)
        return _refused(refusal("请求帧不合规", "the frame is not a request"))
    return answer(signer, request, uid)


def answer(signer: KeySigner, request: Request, uid: int) -> SignerReply:
    """The reply to one request of user `uid`. Every error becomes a refusal with a text."""
    try:
        if isinstance(request, ActiveKey):
            return SignerReply(key_id=signer.active_key())
        if isinstance(request, DescribeKey):
            return signer.describe(request.key_id)
        if isinstance(request, Countersign):
            return SignerReply(head=signer.countersign(request, uid))
        if isinstance(request, HighWater):
            tail = signer.high_water()
            return SignerReply(head=tail.head, batch=tail.batch)
        if isinstance(request, ReadLog):
            return SignerReply(page=signer.read_log(request))
        return SignerReply(signatures=signer.sign(request, uid))
    except KeyringError:
        # The text of the error names files of this machine: it belongs in the log, not in the reply.
        _LOG.exception("a private key cannot be used")
        return _refused(
            refusal("私钥不可用，原因见签名服务的日志", "the private key cannot be used; the signer's log says why")
        )
    except SignerError as error:
        _LOG.warning("refused: %s", error.text.en)
        return _refused(error)


def _refused(error: SignerError) -> SignerReply:
    return SignerReply(zh=error.text.zh, en=error.text.en)
