"""Load tests as commands: which runs pass, which fail, and which are refused.

A run has a few seconds and a few scans a second. The capacity of a machine is not measured here.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from loadtests.__main__ import main
from loadtests.load import sample, system
from loadtests.load.seeding import Plan

pytestmark = pytest.mark.proof

SECTION = '<section class="verdict {}" aria-labelledby="verdict">'


@pytest.fixture(scope="module")
def running() -> Iterator[system.System]:
    """A small system, seeded as the large ones are; not in pytest's folder, as `tests/conftest.py` explains."""
    port = 20191 + 400 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    with tempfile.TemporaryDirectory(prefix="zpcode-load-", ignore_cleanup_errors=True) as home:
        Path(home).chmod(0o711)
        with system.running(Path(home), Plan(4, 60, sampled=40, set_aside=10), port, port + 50) as started:
            yield started


def load(profile: str, out: Path, limits: str, *options: object) -> tuple[int, dict[str, Any], str]:
    """Run a profile; its exit status, its result and its standard error."""
    out.mkdir(exist_ok=True)
    (out / "thresholds.toml").write_text(limits, "utf-8")
    command = [sys.executable, "-m", "loadtests", "run", profile, "--out", out, "--rate", 10,
               "--thresholds", out / "thresholds.toml", *options]  # fmt: skip
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, timeout=120)
    result = out / "result.json"
    return done.returncode, json.loads(result.read_text("utf-8")) if result.exists() else {}, done.stderr


def of(target: system.System) -> tuple[object, ...]:
    return ("--host", target.scan, "--api", target.api, "--sample", target.sample, "--readyz", target.readyz)


def test_a_recall_is_seen_by_everybody_and_the_run_passes(running: system.System, tmp_path: Path) -> None:
    # The share of responses in time depends on the machine: no bound here.
    limits = "[recall]\nscans_min = 1\ndecisions_min = 1\nwithdrawn_scans_min = 1\ndropped_scans_max = 1e6\n"
    status, result, errors = load("晚间新闻召回", tmp_path / "out", limits, "--seconds", 5, *of(running))
    assert status == 0, errors
    assert result["passed"]
    assert {name for name, *_ in result["said"]} >= {"consumer", "regulator", "seen"}
    page = (tmp_path / "out" / "index.html").read_text("utf-8")
    assert "通过 passed" in page
    assert page.count("<svg") == 2
    assert "src=" not in page
    assert "<!doctype html>" in (tmp_path / "out" / "locust.html").read_text("utf-8").lower()


def test_a_threshold_that_cannot_be_met_fails_the_run(running: system.System, tmp_path: Path) -> None:
    limits = "[ordinary]\nscans_min = 1\np50_ms_max = 0\n"
    status, result, _ = load("ordinary", tmp_path / "out", limits, "--seconds", 2, *of(running))
    assert status == 1
    assert [one["name"] for one in result["thresholds"] if not one["met"]] == ["p50_ms"]


PREVIEWS = """
from locust import task
from loadtests.load.catalogue import PROFILES
from loadtests.users.consumers import Consumer
from loadtests.users.locust_wiring import Curve, prepare

class Messenger(Consumer):
    @task
    def show_preview(self):
        self.preview(self.shared.sample.draw("ordinary", self.rng))

class Shape(Curve):
    profile = PROFILES["ordinary"]

prepare(Shape.profile)
"""


def test_a_preview_of_a_compressed_page_is_right(running: system.System, tmp_path: Path, root: Path) -> None:
    """The response to HEAD says gzip and has no body."""
    (tmp_path / "previews.py").write_text(PREVIEWS, "utf-8")
    (tmp_path / "thresholds.toml").write_text("[ordinary]\nscans_min = 1\nfailure_share_max = 0\n", "utf-8")
    options = ("--headless", "--host", running.scan, "--api", running.api, "--sample", running.sample, "--seconds", 3,
               "--scans-per-second", 10, "--thresholds", tmp_path / "thresholds.toml", "--out", tmp_path / "out")  # fmt: skip
    with locust(root, tmp_path / "previews.py", *options) as process:
        assert process.wait(timeout=120) == 0
    result = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert {what for _, what, *_ in result["said"]} == {"preview"}


LIES = {"0": "bad", "1": "good", "2": "neutral"}  # once recalled, by the first letter of the serial
RECALLED_PATH = f"/{'A' * 107}/01/09506100000007/21/000000000000"


class Liar(BaseHTTPRequestHandler):
    """A service that shows a recall on one code, shows some others of the batch in green, and cannot confirm the rest."""

    protocol_version = "HTTP/1.1"
    recalled = threading.Event()

    def do_GET(self) -> None:
        """A scan, or the state of the process."""
        lie = LIES[self.path[len(RECALLED_PATH) - 12]] if self.recalled.is_set() else "good"
        as_json = json.dumps({"scans": {"dropped": 0}, "tone": lie})
        self._answer(200, as_json if "html" not in self.headers.get("Accept", "") else SECTION.format(lie))

    def do_POST(self) -> None:
        """A decision."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.recalled.set()
        self._answer(201, "{}")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode("ascii"))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def liar() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_withdrawn_code_shown_good_fails_the_run_at_any_thresholds(tmp_path: Path, root: Path) -> None:
    """The scan service of this test forgets a recall: a run with three processes must notice.

    Each worker's consumers scan other codes, and only one of the two makes the recall: if both know it, the processes
    share it.
    """
    for first in "12":
        folder = tmp_path / first
        paths = [RECALLED_PATH, *(f"{RECALLED_PATH[:-12]}{first}{number:011d}" for number in range(1000))]
        codes = dict.fromkeys(sample.SECTIONS, paths) | {name: ["/01/09506100000007"] for name in sample.OTHERS}
        sample.write(folder, codes, recall_batch=1, products=1, codes=1001)
        sample.Keys("key", (("key", "09506100000007"),)).write(folder)
    (tmp_path / "thresholds.toml").write_text("[recall]\nscans_min = 1\n")
    with liar() as url, socket.socket() as probe, ExitStack() as stack:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        lead = ("--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--expect-workers", 2,
                "--headless", "--host", url, "--api", url, "--seconds", 15, "--scans-per-second", 20,
                "--thresholds", tmp_path / "thresholds.toml", "--out", tmp_path / "out")  # fmt: skip
        work = ("--worker", "--master-port", port)
        roles = ((lead, "1"), (work, "1"), (work, "2"))
        recall = root / "loadtests/profiles/recall.py"
        started = [
            stack.enter_context(locust(root, recall, "--sample", tmp_path / first, *options))
            for options, first in roles
        ]
        statuses = [process.wait(timeout=120) for process in started]
    result = json.loads((tmp_path / "out" / "result.json").read_text("utf-8"))
    assert statuses[0] == 1
    assert [one["name"] for one in result["thresholds"] if not one["met"]] == ["withdrawn_shown_good"]
    answers = {tuple(one[:3]) for one in result["said"]}
    assert answers >= {("consumer", "withdrawn", "good"), ("consumer", "withdrawn", "neutral")}


@contextmanager
def locust(root: Path, profile: Path, *options: object) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "locust", "-f", str(profile), *map(str, options)]
    process = subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "https://scan.example"), "--yes-load-that-host"),
        (("--host", "http://127.0.0.1:9", "--api", "https://api.example"), "https://api.example"),
        (("--host", "http://127.0.0.1:9"), "--sample"),
        (("--host", "http://127.0.0.1:9", "--sample", "/nowhere"), "python -m loadtests seed"),
    ],
)
def test_what_was_not_meant_is_refused_in_both_languages(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    options: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["loadtests", "run", "ordinary", "--out", str(tmp_path), *options])
    with pytest.raises(SystemExit) as ended:
        main()
    errors = capfd.readouterr().err
    assert ended.value.code == 2
    assert words in errors
    assert not errors.isascii()


def test_a_database_of_somebody_elses_is_not_seeded_unasked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("ZPCODE_DATABASE_URL", "postgresql://db.example/zpcode")
    monkeypatch.setattr(sys, "argv", ["loadtests", "seed", "--sample", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "--yes-seed-that-database" in capsys.readouterr().err


def test_a_locust_started_by_hand_refuses_another_machine_too(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-m", "locust", "-f", "loadtests/profiles/ordinary.py", "--headless",
               "--host", "https://scan.example", "--sample", str(tmp_path)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=root)
    assert done.returncode == 2
    assert "--yes-load-that-host" in done.stderr
