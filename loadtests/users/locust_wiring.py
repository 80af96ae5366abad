"""What all locustfiles share: options, the shared state of the users, and the result at the end.

A locustfile calls `prepare(PROFILE)` at its end. The leading process (the only one, or the `--master`) collects the tallies,
compares the figures with `thresholds.toml`, writes the report and sets the exit status: 0 passed, 1 missed, 2 refused or not
measurable.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from argparse import ArgumentParser, Namespace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

from locust import LoadTestShape, events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from loadtests.load import curves, report, targets, thresholds
from loadtests.load.catalogue import Profile
from loadtests.load.figures import Run, figures
from loadtests.load.sample import Keys, Sample
from loadtests.load.terminal import refused
from loadtests.users.shared_state import ANNOUNCEMENT, SharedState
from loadtests.users.verdicts import ScanKind
from zpcode.errors import Refused, Unavailable

STOP_SECONDS: Final = 30.0


class Curve(LoadTestShape):
    """The number of consumers follows the profile's curve (one scan a second each); other users are added."""

    abstract = True
    profile: ClassVar[Profile]

    def tick(self) -> tuple[int, float] | None:
        """The number of users now, and how many may start in a second; None at the end."""
        environment: Any = self.runner and self.runner.environment
        options, second = environment.parsed_options, time.perf_counter() - self.start_time
        if second >= options.seconds:
            return None
        fixed = sum(kind.fixed_count for kind in environment.user_classes)
        share = curves.at(self.profile.points(options.seconds), second)
        users = fixed + max(1, round(options.scans_per_second * share))
        return users, float(users)


def prepare(profile: Profile) -> None:
    """Register a profile with Locust."""
    events.init_command_line_parser.add_listener(lambda parser, **_: _options(parser))
    events.init.add_listener(lambda environment, **_: _Process(profile, environment).begin())


def _options(parser: ArgumentParser) -> None:
    """Add the options. Their values are plain, because the master sends them to its workers."""
    own = parser.add_argument_group("浙品码 / zpcode")
    own.add_argument("--sample", required=True, help="样本目录 / folder of the sample that seeding wrote")
    own.add_argument("--api", default="", help="业务接口地址 / address of the authority's API")
    own.add_argument(
        "--scans-per-second", type=float, default=50.0, help="满载时每秒扫码 / scans a second at the full rate"
    )
    own.add_argument("--seconds", type=float, default=60.0, help="持续秒数 / how long")
    own.add_argument("--out", default="", help="报告目录 / folder of the report")
    own.add_argument("--thresholds", default=str(thresholds.DEFAULT), help="阈值文件 / file of thresholds")
    own.add_argument(
        "--readyz",
        action="append",
        default=[],
        help="每个扫码进程内部端口的 /readyz / /readyz on the private port of each scan process",
    )
    own.add_argument(
        targets.CONFIRM, dest="confirmed", action="store_true", help="目标不是本机也要测 / load another machine"
    )


class _Process:
    """One Locust process from start to end. The leading process also judges the run."""

    def __init__(self, profile: Profile, environment: Any) -> None:
        self._profile, self._environment = profile, environment
        self._options: Namespace = environment.parsed_options
        self._thresholds: dict[str, float] = {}
        self._dropped: int | None = None

    def begin(self) -> None:
        """Check the options before the first request. Exits with status 2 where something is wrong."""
        runner = self._environment.runner
        try:
            if not isinstance(runner, WorkerRunner):
                self._lead()
            sample = Sample(Path(self._options.sample))
            keys = Keys.read(Path(self._options.sample)) if self._profile.official else Keys("", ())
        except (Refused, Unavailable) as error:
            _exit(error)
        self.shared = SharedState(sample, keys, runner)
        for subject in self._profile.uncertain:
            self.shared.ledger.announce(subject, ScanKind.CHANGING)
        self._environment.shared = self.shared
        self._environment.stop_timeout = STOP_SECONDS
        self._set_counts()
        self._listen(runner)

    def _lead(self) -> None:
        addresses = [self._options.host or "", *([self._options.api] if self._profile.official else [])]
        text = targets.refusal(addresses, confirmed=self._options.confirmed)
        if text is not None:
            raise Refused(text)
        self._thresholds = thresholds.read(Path(self._options.thresholds), self._profile.name)
        self._dropped = self._dropped_scans()

    def _set_counts(self) -> None:
        """Set the number of users that is a share of the rate; Locust starts exactly so many."""
        for kind in self._environment.user_classes:
            if kind.share:
                kind.fixed_count = max(1, round(self._options.scans_per_second * kind.share))

    def _listen(self, runner: Any) -> None:
        listeners, shared = self._environment.events, self.shared

        def receive(environment: Environment, msg: Any, **_: Any) -> None:
            del environment
            shared.ledger.announce(msg.data[0], ScanKind(msg.data[1]))
            if isinstance(runner, MasterRunner):
                runner.send_message(ANNOUNCEMENT, msg.data)

        def send_tally(data: dict[str, Any], **_: Any) -> None:
            data["tally"] = shared.tally.take()

        def started(environment: Any, **_: Any) -> None:
            options = environment.parsed_options  # a worker has the master's options by now
            shared.began, shared.api, shared.seconds = time.monotonic(), options.api, options.seconds

        runner.register_message(ANNOUNCEMENT, receive)
        listeners.test_start.add_listener(started)
        if isinstance(runner, WorkerRunner):
            listeners.report_to_master.add_listener(send_tally)
            return
        listeners.worker_report.add_listener(lambda data, **_: shared.tally.add(data["tally"]))
        listeners.quitting.add_listener(lambda **_: self._end())

    def _end(self) -> None:
        """Judge, write the report, and set the exit status."""
        before, after = self._dropped, self._dropped_scans()
        lost = None if before is None or after is None else max(0, after - before)
        planned = curves.area(self._profile.points(self._options.seconds)) * self._options.scans_per_second
        crashes = sum(row["count"] for row in self._environment.runner.exceptions.values())
        measured = figures(self.shared.tally, Run(self._options.seconds, planned, lost, crashes))
        try:
            judged = thresholds.judge(self._thresholds, measured)
        except Refused as error:
            judged, self._environment.process_exit_code = [], 2
            refused(error.text)
        else:
            self._environment.process_exit_code = 0 if all(one.met for one in judged) else 1
        out = Path(self._options.out or f"build/load/{self._profile.name}")
        info = report.RunInfo(
            self._profile.name, self._profile.zh, self._profile.en, datetime.now(UTC), self._options.host,
            self._options.seconds, self._options.scans_per_second, self.shared.sample.contents.codes,
            self._profile.points(self._options.seconds), self._environment.process_exit_code,
            len(os.sched_getaffinity(0)), os.getloadavg()[0],
        )  # fmt: skip
        report.write(out, info, self.shared.tally, measured, judged)

    def _dropped_scans(self) -> int | None:
        """How many scans the scan processes report as dropped so far; None where one does not answer, or none is named."""
        if not self._options.readyz:
            return None
        lost = 0
        for url in self._options.readyz:
            try:
                with urllib.request.urlopen(url, timeout=5) as response:  # noqa: S310 - the confirmed target
                    lost += int(json.load(response)["scans"]["dropped"])
            except (OSError, ValueError, KeyError, TypeError):
                return None
        return lost


def _exit(error: Refused | Unavailable) -> None:
    refused(error.text)
    for finding in error.findings:
        refused(finding.text)
    sys.exit(2)
