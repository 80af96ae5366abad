"""A code's whole life in the running demo: ordered, issued, scanned, flagged, revoked, restored, audited."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.demo_running import Demo, command, demo, descendants
from tests.support.patience import eventually
from zpcode.wire.link import path_of


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[Demo]:
    """One demo for the tests of this module."""
    with demo(home, 20101) as started:
        yield started


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder that PostgreSQL's user can enter. pytest's folders cannot be used: another pytest process closes them."""
    with tempfile.TemporaryDirectory(prefix="zpcode-life-") as folder:
        path = Path(folder)
        path.chmod(0o711)
        yield path


def _scan(address: str, language: str = "zh-CN", agent: str = "a phone") -> dict[str, Any]:
    headers = {"Accept": "application/json", "Accept-Language": language, "User-Agent": agent}
    answer: dict[str, Any] = httpx.get(address, headers=headers).json()
    return answer


def _revoke(running: Demo, target: str, action: str = "revoke", reason: str = "counterfeit-confirmed") -> None:
    body = {
        "scope": "code",
        "target": target,
        "action": action,
        "reason": reason,
        "legal_basis": "产品质量法",
        "note": {"zh": "标签被仿冒", "en": "the label was copied"},
        "notice": "浙市监公告〔2026〕1号",
    }
    answer = running.api.post("/v1/status-changes", json=body, headers=running.tokens["regulator"])
    assert answer.status_code in {200, 201}, answer.text


def test_every_level_is_verified_on_the_page_and_in_json(running: Demo) -> None:
    """The links the demo prints lead to a verified product, at each of the four levels."""
    answers = [_scan(link) for link in running.links[-4:]]
    assert [(answer["level"], answer["verdict"]) for answer in answers] == [
        ("product", "verified"),
        ("lot", "verified"),
        ("item", "verified"),
        ("compact", "verified"),
    ]


def test_the_goods_journey_and_the_public_notices_are_shown(running: Demo) -> None:
    """Production to shipment on lot and item codes, none on a product code; one notice of three is over."""
    journeys = [_scan(link)["goods"] for link in running.links[-4:]]
    assert journeys[0] is None
    for goods in journeys[1:]:
        kinds = [event["kind"] for event in goods["journey"]]
        assert kinds == ["produced", "inspected", "stored", "shipped", "shipped"]
    listed = running.api.get("/v1/notices").json()["items"]
    numbers = [one["notice"] for one in listed if one["action"] != "restore"]
    page = eventually(lambda: _front(running, "浙市监召〔2026〕18号"))
    assert all(number in page for number in numbers)
    assert "浙市监质〔2026〕52号" not in page, "a restoration ends a notice and is none"


def _front(running: Demo, word: str) -> str:
    page = httpx.get(running.scan + "/", headers={"Accept-Language": "zh-CN"}).text
    return page if word in page else ""


def test_from_the_order_to_the_revocation(running: Demo) -> None:
    """An enterprise orders over HTTP, the worker issues, a consumer scans, a regulator revokes and restores."""
    api, mine = running.api, running.tokens["enterprise"]
    gtin = api.get("/v1/products", headers=mine).json()["items"][0]["gtin"]
    order = {"level": "item", "gtin": gtin, "quantity": 25, "lot": "LIFE1"}
    made = api.post("/v1/batches", json=order, headers=mine | {"Idempotency-Key": "life-1"})
    assert made.status_code in {201, 202}, made.text
    number = made.json()["number"]
    batch = eventually(lambda: _issued(api, number, mine))
    codes = api.get(f"/v1/batches/{number}/codes", headers=mine)
    assert hashlib.sha256(codes.content).hexdigest() == batch["file"]["sha256"]
    rows = list(csv.DictReader(io.StringIO(codes.text)))
    assert len({row["serial"] for row in rows}) == 25
    address = running.scan + path_of(rows[7]["url"])
    first = _scan(address)
    assert (first["verdict"], first["history"]["scans"]) == ("verified", 1)
    assert _scan(address, agent="another phone")["history"]["scans"] == 2
    _revoke(running, rows[7]["url"])
    eventually(lambda: _scan(address)["verdict"] == "revoked")  # at once, or by the worker within a second
    revoked = _scan(address, "en")
    assert revoked["decision"]["notice"] == "浙市监公告〔2026〕1号"
    assert _scan(running.scan + path_of(rows[8]["url"]))["verdict"] == "verified"
    _revoke(running, rows[7]["url"], "restore", "entered-in-error")
    eventually(lambda: _scan(address)["verdict"] == "verified")


def _issued(api: httpx.Client, number: int, headers: dict[str, str]) -> dict[str, Any] | None:
    batch: dict[str, Any] = api.get(f"/v1/batches/{number}", headers=headers).json()
    return batch if batch["state"] == "issued" else None


def _open_to_all(folder: Path) -> Iterator[Path]:
    """The files below a folder that every user of the machine can open."""
    for path in folder.iterdir():
        mode = path.lstat().st_mode
        if path.is_dir() and mode & 0o001:
            yield from _open_to_all(path)
        elif path.is_file() and mode & 0o006:
            yield path


def test_other_users_of_the_machine_read_what_is_public_and_no_log(running: Demo) -> None:
    """Keyring, root public key and pictures; not logs, code files, keys or secrets. The demo's folder is open for these."""
    readable = {path.relative_to(running.home) for path in _open_to_all(running.home)}
    assert {str(path) for path in readable if path.parts[0] != "pictures"} <= {
        "keyring.json",
        "root.pub.pem",
    }
    logs = running.home / "log"
    assert logs.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in logs.glob("*.log")} == {0o600}


def test_another_enterprise_sees_nothing_of_it(running: Demo) -> None:
    """Another enterprise gets the same 404 as for a batch that does not exist."""
    api, operator = running.api, running.tokens["operator"]
    others = list(api.get("/v1/batches", headers=operator).json()["items"])
    mine = running.tokens["enterprise"]
    reachable = {batch["number"] for batch in api.get("/v1/batches", headers=mine).json()["items"]}
    foreign = next(batch["number"] for batch in others if batch["number"] not in reachable)
    answers = [api.get(f"/v1/batches/{number}", headers=mine) for number in (foreign, 60_000_000)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json()["title"] == answers[1].json()["title"]


def test_the_audit_log_holds_after_all_that(running: Demo) -> None:
    """The auditor's command, on the servers of the demo."""
    done = subprocess.run(
        [sys.executable, "-m", "zpcode", "audit", "verify"],
        env=os.environ | {"ZPCODE_HOME": str(running.home)},
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_revoking_the_signing_key_turns_every_code_under_it(running: Demo) -> None:
    """By the ceremony alone, without a restart. The compact code has no seal and stays valid. Late in this module: it ends
    the only key.
    """
    environment = os.environ | {
        "ZPCODE_HOME": str(running.home),
        "ZPCODE_KEY_PASSPHRASE_FILE": str(running.home / "secrets" / "signing-key.passphrase"),
        "ZPCODE_ROOT_PASSPHRASE_FILE": str(running.home / "secrets" / "root-key.passphrase"),
    }
    item = running.links[-2]
    old = _scan(item)["code"]["key_id"]

    def ceremony(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "keys", *words], env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    ceremony("rotate", "--yes")
    assert _scan(item)["verdict"] == "verified"
    ceremony("revoke", old, "--reason", "rehearsal", "--yes")
    eventually(lambda: {_scan(link)["verdict"] for link in running.links[-4:-1]} == {"key_revoked"})
    assert _scan(running.links[-1])["verdict"] == "verified"


def test_a_second_demo_on_the_same_directory_says_so(running: Demo) -> None:
    """It does not start, and says what to do."""
    done = subprocess.run(command(running.home), check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Ctrl-C" in done.stderr


def test_ctrl_c_leaves_no_process_and_the_next_start_shows_the_same_codes(home: Path) -> None:
    """State is kept, another port is used if one is taken, and no process is left either time."""
    place = home / "second"
    place.mkdir(mode=0o711)
    with demo(place, 20301) as first:
        assert len(descendants(place)) > 5
        first.process.send_signal(signal.SIGINT)
        assert first.process.wait(timeout=60) == 0
        assert descendants(place) == []
        links = first.links
    with httpx.Client() as holder, demo(place, 20301) as second:
        assert [path_of(link) for link in second.links] == [path_of(link) for link in links]
        assert holder.get(second.links[-2], headers={"Accept": "application/json"}).json()["verdict"] == "verified"
    assert descendants(place) == []
