"""The signer as a service: what one of its processes does with the requests it takes off the socket.

A process takes one connection, answers its one request and takes the next, so that a busy one
takes nothing and the kernel hands every request to an idle one. Whoever connects is known by
SO_PEERCRED before anything is read; one that is let in and then stalls costs its process at most
the two times below.
"""

from __future__ import annotations

import logging
import os
import select
import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from keys.keyring import KeyringFile, read_root
from keys.listening import peer_uid
from keys.messages import refusal
from keys.prefork import Prefork
from keys.protocol import MAX_REQUEST, ActiveKey, Request, SignerReply, receive, send
from keys.signer import KeySigner
from keys.signing_log import SigningLog
from zpcode.errors import KeyringError, SignerError

REQUEST_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 10.0
_LOG = logging.getLogger(__name__)
_REQUESTS: Final = msgspec.msgpack.Decoder(Request)


@dataclass(frozen=True, slots=True)
class Service:
    """A signer to run: its files, its socket, its number of processes (0: one for each core), who may ask.

    `allowed_uids` are let in beside the user it runs as.
    """

    keyring: Path
    root_public: Path
    keys_dir: Path
    log: Path
    socket: Path
    passphrase: bytes = field(repr=False)
    processes: int = 0
    allowed_uids: frozenset[int] = frozenset()

    @property
    def uids(self) -> frozenset[int]:
        """Every user id that may ask."""
        return self.allowed_uids | {os.geteuid()}

    @property
    def mode(self) -> int:
        """The socket's mode: our own user only, or our group too when other users are let in."""
        return 0o600 if self.uids == {os.geteuid()} else 0o660

    def signer(self) -> KeySigner:
        """A signer on these files. Raises KeyringError when keyring or log cannot be used."""
        ring = KeyringFile(self.keyring, read_root(self.root_public), time.monotonic)
        return KeySigner(ring, self.keys_dir, self.passphrase, SigningLog(self.log), lambda: datetime.now(UTC))


def run(service: Service) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises KeyringError when the active key does not load and prove itself, SignerError when the
    socket cannot be had: a signer that could not sign does not start.
    """
    _prove(service.signer())

    def child(listener: socket.socket, parent_gone: int) -> None:
        _serve(listener, parent_gone, service.signer(), service.uids)

    Prefork(service.socket, service.mode, service.processes or os.cpu_count() or 1, child).run()


def _prove(signer: KeySigner) -> None:
    try:
        signer.load_active()
    except SignerError as error:  # none is active now; one may be created while this runs
        _LOG.warning("%s", error.text.en)


def _serve(listener: socket.socket, parent_gone: int, signer: KeySigner, uids: frozenset[int]) -> None:
    while True:
        ready, _, _ = select.select([listener.fileno(), parent_gone], [], [])
        if parent_gone in ready:
            return
        try:
            connection, _ = listener.accept()
        except BlockingIOError:  # another process was quicker
            continue
        with connection:
            connection.settimeout(REQUEST_SECONDS)
            try:
                _exchange(connection, signer, uids)
            except (OSError, EOFError) as error:
                _LOG.info("whoever asked went away or stalled: %s", type(error).__name__)


def _exchange(connection: socket.socket, signer: KeySigner, uids: frozenset[int]) -> None:
    uid = peer_uid(connection)
    if uid not in uids:
        _LOG.warning("user %d is not let in", uid)
        reply = _no(refusal(f"用户 {uid} 无权使用", f"user {uid} may not ask"))
    else:
        reply = _reply(connection, signer, uid)
    connection.settimeout(ANSWER_SECONDS)
    send(connection, reply)


def _reply(connection: socket.socket, signer: KeySigner, uid: int) -> SignerReply:
    try:
        request = _REQUESTS.decode(receive(connection, MAX_REQUEST, REQUEST_SECONDS))
    except (ValueError, msgspec.MsgspecError):
        _LOG.warning("a frame that is no request, from user %d", uid)
        return _no(refusal("请求帧不合规", "that is no request frame"))
    return answer(signer, request, uid)


def answer(signer: KeySigner, request: Request, uid: int) -> SignerReply:
    """What the signer says to one request of user `uid`; everything it refuses becomes a refusal in words."""
    try:
        if isinstance(request, ActiveKey):
            return SignerReply(key_id=signer.active_key())
        return SignerReply(signatures=signer.sign(request, uid))
    except KeyringError:
        # Its words name files of this machine: for our own log, not for whoever asked.
        _LOG.exception("a private key cannot be used")
        return _no(refusal("私钥不可用，原因见签名服务的日志", "the private key cannot be used; its log says why"))
    except SignerError as error:
        _LOG.warning("refused: %s", error.text.en)
        return _no(error)


def _no(error: SignerError) -> SignerReply:
    return SignerReply(zh=error.text.zh, en=error.text.en)
