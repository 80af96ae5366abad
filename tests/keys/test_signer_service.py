"""The signer as it runs: real processes on a real socket, killed and restarted."""
# A test's name is its sentence; a docstring stands where there is more to say.

from __future__ import annotations

import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from keys.client import SignerClient
from keys.keyring import SealVerdict
from keys.protocol import MAX_REQUEST, SignerReply, receive
from tests.support.keyroom import GTIN, PASSPHRASE, RunningSigner, is_running, retire, revoke, ring, rotate
from tests.support.patience import eventually
from zpcode.errors import SignerError, SignerUnavailable
from zpcode.wire.payload import Code, Identity, Seal, Serial


@pytest.fixture(scope="module")
def signer() -> Iterator[RunningSigner]:
    """A signer of two processes, for all tests that leave it as it was."""
    with RunningSigner() as running:
        yield running


@pytest.fixture
def own_signer() -> Iterator[RunningSigner]:
    """A signer of two processes, for a test that ends it, changes its keys or reads its whole log."""
    with RunningSigner() as running:
        yield running


def sealed_by(signer: RunningSigner, batch: int, slots: list[int], signatures: bytes) -> list[SealVerdict]:
    """What the keyring says of each signature of a chunk."""
    codes = [
        Code(Identity(GTIN, serial=Serial(batch, slot)), Seal(signer.key_id, signatures[64 * at : 64 * at + 64]))
        for at, slot in enumerate(slots)
    ]
    return [ring(signer.room).verify(code) for code in codes]


def raw_exchange(signer: RunningSigner, data: bytes) -> SignerReply:
    """Send bytes that no client of ours would, and give the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(signer.socket))
        connection.sendall(data)
        return msgspec.msgpack.decode(receive(connection, 1 << 20, 20), type=SignerReply)


def test_all_kinds_are_signed_over_the_socket(signer: RunningSigner) -> None:
    with SignerClient(signer.socket) as client:
        assert client.active_key() == signer.key_id
        lot = Code(Identity(GTIN, lot="A1"), Seal(signer.key_id, client.sign_lot(signer.key_id, GTIN, "A1")))
        product = Code(Identity(GTIN), Seal(signer.key_id, client.sign_product(signer.key_id, GTIN)))
        slots = np.array([3, 2, 1], np.uint64)
        items = client.sign_items(signer.key_id, GTIN, 5, slots)
        assert items == client.sign_items(signer.key_id, GTIN, 5, slots.astype("<u8").tobytes())
    verdicts = [ring(signer.room).verify(code) for code in (lot, product)]
    assert {*verdicts, *sealed_by(signer, 5, [3, 2, 1], items)} == {SealVerdict.VALID}


def test_a_full_chunk_fits_through_the_socket(signer: RunningSigner) -> None:
    signatures = signer.client.sign_items(signer.key_id, GTIN, 5, np.arange(65_536, dtype=np.uint64))
    assert sealed_by(signer, 5, [0], signatures[:64]) == sealed_by(signer, 5, [65_535], signatures[-64:])
    assert sealed_by(signer, 5, [65_535], signatures[-64:]) == [SealVerdict.VALID]


def test_a_refusal_comes_back_in_both_languages(signer: RunningSigner) -> None:
    with pytest.raises(SignerError) as caught:
        signer.client.sign_product(signer.key_id, "1")
    assert not isinstance(caught.value, SignerUnavailable)
    assert "GTIN" in caught.value.text.en
    assert "拒绝" in caught.value.text.zh


def test_many_threads_share_one_client(signer: RunningSigner) -> None:
    results: dict[int, bytes] = {}

    def work(batch: int) -> None:
        results[batch] = signer.client.sign_items(signer.key_id, GTIN, batch, np.arange(500, dtype=np.uint64))

    threads = [threading.Thread(target=work, args=(batch,)) for batch in range(1, 17)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 16
    for batch, signatures in results.items():
        assert sealed_by(signer, batch, [0], signatures[:64]) == [SealVerdict.VALID]
    assert len({*results.values()}) == 16


def test_more_callers_than_the_queue_holds_are_all_served(signer: RunningSigner) -> None:
    done: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: done.append(signer.client.sign_product(signer.key_id, GTIN)))
        for _ in range(300)
    ]
    os.kill(signer.process.pid, signal.SIGSTOP)
    for pid in signer.children():
        os.kill(pid, signal.SIGSTOP)
    for thread in threads:
        thread.start()
    for pid in (signer.process.pid, *signer.children()):
        os.kill(pid, signal.SIGCONT)
    for thread in threads:
        thread.join()
    assert len(done) == 300


def test_a_process_that_hangs_keeps_nobody_waiting(signer: RunningSigner) -> None:
    stopped, _ = signer.children()
    os.kill(stopped, signal.SIGSTOP)
    try:
        for _ in range(20):
            assert signer.client.active_key() == signer.key_id
    finally:
        os.kill(stopped, signal.SIGCONT)


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 4) + b"\xff\xff\xff\xff",
        struct.pack(">I", 0),
        struct.pack(">I", 1) + b"\x80",
        struct.pack(">I", MAX_REQUEST + 1),
        b"\xff" * 4096,
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", 24) + msgspec.msgpack.encode({"kind": "sign", "key_id": "AAAA"}).ljust(24, b"\0"),
    ],
)
def test_a_frame_that_is_no_request_is_refused_and_the_signer_goes_on(signer: RunningSigner, data: bytes) -> None:
    before = signer.children()
    assert raw_exchange(signer, data).en == "the signer refuses: the frame is not a request"
    assert signer.client.active_key() == signer.key_id
    assert signer.children() == before


def test_callers_who_hang_up_or_stall_do_not_stop_the_signer(signer: RunningSigner) -> None:
    stalled = []
    for data in (b"", b"\0\0", struct.pack(">I", 100) + b"half"):
        for _ in range(2):
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(str(signer.socket))
            connection.sendall(data)
            stalled.append(connection)
    stalled.pop().close()
    assert signer.client.sign_product(signer.key_id, GTIN)
    for connection in stalled:
        connection.close()


def test_the_socket_is_its_owners_alone_unless_others_are_let_in(signer: RunningSigner) -> None:
    assert stat.S_IMODE(signer.socket.stat().st_mode) == 0o600
    with RunningSigner(processes=1, allowed_uids="[64999]") as shared:
        assert stat.S_IMODE(shared.socket.stat().st_mode) == 0o660


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("uid", "said"), [(64999, "GOOD"), (64998, "user 64998 is not permitted")])
def test_only_users_who_are_let_in_are_answered(uid: int, said: str) -> None:
    with RunningSigner(processes=1, allowed_uids="[64999]") as running:
        script = (
            "import os, sys; from pathlib import Path; from keys.client import SignerClient;"
            "from zpcode.errors import ZpError\n"
            f"os.setgid(0); os.setuid({uid})\n"
            "try: SignerClient(Path(sys.argv[1])).active_key(); print('GOOD')\n"
            "except ZpError as error: print(error)\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", script, str(running.socket)], capture_output=True, text=True, check=True
        )
        assert said in ended.stdout


def test_a_signing_process_that_dies_is_replaced(own_signer: RunningSigner) -> None:
    before = own_signer.children()
    os.kill(before[0], signal.SIGKILL)
    eventually(lambda: len(own_signer.children()) == 2 and before[0] not in own_signer.children())
    assert before[1] in own_signer.children()
    assert own_signer.client.sign_product(own_signer.key_id, GTIN)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_signer_ends_with_all_its_processes(own_signer: RunningSigner, how: signal.Signals) -> None:
    children = own_signer.children()
    assert own_signer.stop(how) == 0
    assert not any(map(is_running, children))
    assert not own_signer.socket.exists()
    with pytest.raises(SignerUnavailable):
        own_signer.client.active_key()


def test_no_process_outlives_a_killed_parent_and_a_new_one_takes_over(own_signer: RunningSigner) -> None:
    children = own_signer.children()
    own_signer.stop(signal.SIGKILL)
    eventually(lambda: not any(map(is_running, children)))
    assert own_signer.socket.exists()
    with pytest.raises(SignerUnavailable):
        own_signer.client.active_key()
    own_signer.start()
    assert own_signer.client.active_key() == own_signer.key_id


def test_a_second_signer_at_the_same_socket_is_refused(signer: RunningSigner) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "keys", "serve"], env=signer.environment, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert "is already running at" in second.stderr
    assert signer.client.active_key() == signer.key_id


@pytest.mark.parametrize(
    ("place", "said"), [("s" * 120, "at most 107"), ("taken", "is not a socket"), ("taken/s", "cannot be used")]
)
def test_a_socket_path_that_cannot_be_is_said_clearly(signer: RunningSigner, place: str, said: str) -> None:
    (signer.home / "taken").write_text("")
    ended = subprocess.run(
        [sys.executable, "-m", "keys", "serve", "--socket", str(signer.home / place)],
        env=signer.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_signer_that_could_not_sign_does_not_start(own_signer: RunningSigner) -> None:
    own_signer.stop()
    (own_signer.room.keys_dir / f"{own_signer.key_id}.key.pem").chmod(0o644)
    ended = subprocess.run(
        [sys.executable, "-m", "keys", "serve"], env=own_signer.environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "chmod 600" in ended.stderr


def test_rotation_loses_no_running_batch(own_signer: RunningSigner) -> None:
    """A batch keeps asking for the key it began with while the key is rotated under it."""
    half, finished = threading.Event(), []

    def batch() -> None:
        for chunk in range(40):
            slots = np.arange(chunk * 50, chunk * 50 + 50, dtype=np.uint64)
            finished.append(own_signer.client.sign_items(own_signer.key_id, GTIN, 3, slots))
            if chunk == 10:
                half.set()
                eventually(lambda: own_signer.client.active_key() != own_signer.key_id)

    running = threading.Thread(target=batch)
    running.start()
    assert half.wait(20)
    second = rotate(own_signer.room, datetime.now(UTC))
    running.join()
    assert len(finished) == 40
    assert set(sealed_by(own_signer, 3, list(range(2000)), b"".join(finished))) == {SealVerdict.VALID}
    assert own_signer.client.active_key() == second


@pytest.mark.parametrize("end", [retire, revoke])
def test_retiring_and_revoking_reach_the_signer_without_a_restart(own_signer: RunningSigner, end: object) -> None:
    assert own_signer.client.sign_product(own_signer.key_id, GTIN)
    assert callable(end)
    end(own_signer.room, own_signer.key_id, datetime.now(UTC))

    def refused() -> bool:
        try:
            own_signer.client.sign_product(own_signer.key_id, GTIN)
        except SignerError as error:
            return "may not sign now" in error.text.en
        return False

    eventually(refused)


def test_a_damaged_keyring_is_reported_and_the_last_good_one_goes_on(own_signer: RunningSigner) -> None:
    own_signer.room.keyring.write_text("{}")

    def reported() -> bool:
        assert own_signer.client.sign_product(own_signer.key_id, GTIN)
        return b"the keyring cannot be trusted" in (own_signer.home / "stderr").read_bytes()

    eventually(reported)
    assert own_signer.client.sign_product(own_signer.key_id, GTIN)


def test_every_request_is_in_the_log_whichever_process_signed_it(own_signer: RunningSigner) -> None:
    for batch in range(1, 31):
        own_signer.client.sign_items(own_signer.key_id, GTIN, batch, np.arange(3, dtype=np.uint64))
    entries = [msgspec.json.decode(line) for line in own_signer.log.read_bytes().splitlines()]
    assert sorted(entry["batch"] for entry in entries) == list(range(1, 31))
    assert {entry["uid"] for entry in entries} == {os.geteuid()}
    written = own_signer.log.read_bytes() + (own_signer.home / "stderr").read_bytes()
    assert PASSPHRASE not in written
    assert b"PRIVATE KEY" not in written


def test_a_client_without_a_signer_says_so(tmp_path: Path) -> None:
    for path in (tmp_path / "none.sock", tmp_path / ("s" * 200)):
        with pytest.raises(SignerUnavailable) as caught:
            SignerClient(path).active_key()
        assert "does not answer" in caught.value.text.en


def test_a_frozen_signer_is_given_up_after_the_timeout(signer: RunningSigner) -> None:
    impatient = SignerClient(signer.socket, timeout=0.3)
    pids = signer.children()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(SignerUnavailable):
            impatient.sign_product(signer.key_id, GTIN)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert signer.client.active_key() == signer.key_id
