"""What every profile's locustfile shares: options, the stage its users play on, and the verdict at the end.

`prepare(PROFILE)` at the end of a locustfile is all it takes. The process that leads (alone, or as `--master`) gathers
the tallies, judges them by `thresholds.toml`, writes the report and sets the exit status: 0 passed, 1 missed,
2 refused or not to be judged.
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
from loadtests.users.stage import KNOWN, Stage
from loadtests.users.verdicts import What
from zpcode.errors import Refused, Unavailable

STOP_SECONDS: Final = 30.0


class Curve(LoadTestShape):
    """As many consumers as the profile's curve wants, each of whom scans once a second, beside everybody else."""

    abstract = True
    profile: ClassVar[Profile]

    def tick(self) -> tuple[int, float] | None:
        """Users wanted now, all of them within a second; None at the end."""
        environment: Any = self.runner and self.runner.environment
        options, second = environment.parsed_options, time.perf_counter() - self.start_time
        if second >= options.seconds:
            return None
        fixed = sum(kind.fixed_count for kind in environment.user_classes)
        share = curves.at(self.profile.points(options.seconds), second)
        users = fixed + max(1, round(options.scans_per_second * share))
        return users, float(users)


def prepare(profile: Profile) -> None:
    """Hook a profile into Locust."""
    events.init_command_line_parser.add_listener(lambda parser, **_: _options(parser))
    events.init.add_listener(lambda environment, **_: _Lead(profile, environment).begin())


def _options(parser: ArgumentParser) -> None:
    """Plain values only: the master sends them to its workers."""
    own = parser.add_argument_group("浙品码 / zpcode")
    own.add_argument("--sample", required=True, help="样本目录 / folder of the sample that seeding wrote")
    own.add_argument("--api", default="", help="业务接口地址 / address of the authority's API")
    own.add_argument(
        "--scans-per-second", type=float, default=50.0, help="满载时每秒扫码 / scans a second at the full rate"
    )
    own.add_argument("--seconds", type=float, default=60.0, help="持续秒数 / how long")
    own.add_argument("--out", default="", help="报告目录 / folder of the report")
    own.add_argument("--thresholds", default=str(thresholds.DEFAULT), help="阈值文件 / file of thresholds")
    own.add_argument("--readyz", action="append", default=[], help="每个扫码进程的 /readyz / of each scan process")
    own.add_argument(
        targets.CONFIRM, dest="confirmed", action="store_true", help="目标不是本机也要测 / load another machine"
    )


class _Lead:
    """One process of Locust from its beginning to its end; the one that leads also judges."""

    def __init__(self, profile: Profile, environment: Any) -> None:
        self._profile, self._environment = profile, environment
        self._options: Namespace = environment.parsed_options
        self._bars: dict[str, float] = {}
        self._dropped: int | None = None

    def begin(self) -> None:
        """Check everything before the first request. Ends the process with status 2 where something is wrong."""
        runner = self._environment.runner
        try:
            if not isinstance(runner, WorkerRunner):
                self._lead()
            sample = Sample(Path(self._options.sample))
            keys = Keys.read(Path(self._options.sample)) if self._profile.official else Keys("", ())
        except (Refused, Unavailable) as error:
            _leave(error)
        self.stage = Stage(sample, keys, runner)
        for subject in self._profile.unsure:
            self.stage.ledger.announce(subject, What.CHANGING)
        self._environment.stage = self.stage
        self._environment.stop_timeout = STOP_SECONDS
        self._hire()
        self._listen(runner)

    def _lead(self) -> None:
        addresses = [self._options.host or "", *([self._options.api] if self._profile.official else [])]
        text = targets.refusal(addresses, confirmed=self._options.confirmed)
        if text is not None:
            raise Refused(text)
        self._bars = thresholds.read(Path(self._options.thresholds), self._profile.name)
        self._dropped = self._ask_dropped()

    def _hire(self) -> None:
        """Those who are few for each scan a second: Locust brings exactly so many of them to life."""
        for kind in self._environment.user_classes:
            if kind.share:
                kind.fixed_count = max(1, round(self._options.scans_per_second * kind.share))

    def _listen(self, runner: Any) -> None:
        handed, stage = self._environment.events, self.stage

        def heard(environment: Environment, msg: Any, **_: Any) -> None:
            del environment
            stage.ledger.announce(msg.data[0], What(msg.data[1]))
            if isinstance(runner, MasterRunner):
                runner.send_message(KNOWN, msg.data)

        def give(data: dict[str, Any], **_: Any) -> None:
            data["tally"] = stage.tally.take()

        def begun(environment: Any, **_: Any) -> None:
            options = environment.parsed_options  # on a worker what the master was started with, by now
            stage.began, stage.api, stage.seconds = time.monotonic(), options.api, options.seconds

        runner.register_message(KNOWN, heard)
        handed.test_start.add_listener(begun)
        if isinstance(runner, WorkerRunner):
            handed.report_to_master.add_listener(give)
            return
        handed.worker_report.add_listener(lambda data, **_: stage.tally.add(data["tally"]))
        handed.quitting.add_listener(lambda **_: self._end())

    def _end(self) -> None:
        """Judge, write the report, and set the exit status."""
        before, after = self._dropped, self._ask_dropped()
        lost = None if before is None or after is None else max(0, after - before)
        planned = curves.area(self._profile.points(self._options.seconds)) * self._options.scans_per_second
        crashes = sum(row["count"] for row in self._environment.runner.exceptions.values())
        found = figures(self.stage.tally, Run(self._options.seconds, planned, lost, crashes))
        try:
            judged = thresholds.judge(self._bars, found)
        except Refused as error:
            judged, self._environment.process_exit_code = [], 2
            refused(error.text)
        else:
            self._environment.process_exit_code = 0 if all(one.met for one in judged) else 1
        out = Path(self._options.out or f"build/load/{self._profile.name}")
        told = report.Told(
            self._profile.name, self._profile.zh, self._profile.en, datetime.now(UTC), self._options.host,
            self._options.seconds, self._options.scans_per_second, self.stage.sample.contents.codes,
            self._profile.points(self._options.seconds), self._environment.process_exit_code,
            len(os.sched_getaffinity(0)), os.getloadavg()[0],
        )  # fmt: skip
        report.write(out, told, self.stage.tally, found, judged)

    def _ask_dropped(self) -> int | None:
        """How many scans the scan processes say they have dropped so far; None where one does not say."""
        lost = 0
        for url in self._options.readyz or [f"{self._options.host}/readyz"]:
            try:
                with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - the target that was confirmed
                    lost += int(json.load(answer)["scans"]["dropped"])
            except (OSError, ValueError, KeyError, TypeError):
                return None
        return lost


def _leave(error: Refused | Unavailable) -> None:
    refused(error.text)
    for finding in error.findings:
        refused(finding.text)
    sys.exit(2)
