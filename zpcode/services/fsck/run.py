"""All checks in order: first those of primary data, then those of derived data."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Final

from redis.exceptions import RedisError

from zpcode.errors import Finding, Refused, Text, ZpError
from zpcode.services.fsck import (
    cards,
    chain,
    complaints,
    continuity,
    files,
    journey,
    numbers,
    projection,
    queue,
    records,
    roles,
    scans,
    signatures,
)
from zpcode.services.fsck.context import Check, CheckContext
from zpcode.services.fsck.report import CheckResult, FsckReport, Invariant

_logger = logging.getLogger(__name__)
CHECKS: Final[tuple[tuple[Invariant, Check], ...]] = (
    (continuity.CONTINUITY, continuity.continuity),
    (numbers.NUMBERS, numbers.numbers),
    (numbers.RECORDS, numbers.records),
    (roles.ROLES, roles.roles),
    (chain.CHAIN, chain.chain),
    (chain.KEYS, chain.keys),
    (numbers.LOGGED, numbers.logged),
    (records.REGISTRY, records.registry),
    (records.RECOVERIES, records.recoveries),
    (chain.DECISIONS, chain.decisions),
    (journey.JOURNEY, journey.events),
    (numbers.QUOTAS, numbers.quotas),
    (numbers.ORDERS, numbers.orders),
    (queue.JOBS, queue.queue),
    (files.FILES, files.files),
    (files.CONTENTS, files.contents),
    (signatures.SIGNATURES, signatures.kept),
    (cards.HEAD, cards.head),
    (cards.CARDS, cards.cards),
    (projection.HEAD, projection.head),
    (projection.CARDS, projection.cards),
    (complaints.COMPLAINTS, complaints.steps),
    (complaints.FORGOTTEN, complaints.forgotten),
    (scans.PARTITIONS, scans.partitions),
    (scans.STREAM, scans.stream),
    (scans.COUNTS, scans.counts),
    (scans.HISTORIES, scans.histories),
)
NAMES: Final = tuple(invariant.name for invariant, _ in CHECKS)


def check(
    context: CheckContext, *, only: Collection[str] = (), report: Callable[[CheckResult], None] = lambda _: None
) -> FsckReport:
    """Check every invariant, or only those named by `only`. `report` gets each result as soon as it is ready.

    If an invariant cannot be checked, its result says why, and the other checks continue. If the database is behind, that
    is always reported first, nothing is repaired, and every remedy is the recovery. Raises Refused for an unknown name.
    """
    for name in only:
        if name not in NAMES:
            text = Text(
                f"没有检查项 {name[:80]}；可选：{', '.join(NAMES)}",
                f"there is no check {name[:80]}; choose from {', '.join(NAMES)}",
            )
            raise Refused(text, (Finding("check", text),))
    outcomes: list[CheckResult] = []
    first, *others = CHECKS
    current = _outcome(context, *first)
    is_behind = any(finding.reason != continuity.UNCONFIRMED for finding in current.findings)
    context = replace(context, repair=context.repair and not is_behind)
    if is_behind or not only or first[0].name in only:
        report(current)
        outcomes.append(current)
    for invariant, run_check in others:
        if only and invariant.name not in only:
            continue
        outcome = _outcome(context, invariant, run_check)
        outcome.advice = current.remedy if is_behind else outcome.advice
        report(outcome)
        outcomes.append(outcome)
    return FsckReport(tuple(outcomes))


def _outcome(context: CheckContext, invariant: Invariant, run_check: Check) -> CheckResult:
    """The result of one check, whatever happens in it."""
    outcome = CheckResult(invariant)
    try:
        run_check(context, outcome)
    except ZpError as error:
        outcome.obstacle = error.text
    except RedisError as error:
        outcome.obstacle = Text(f"缓存服务没有应答：{error}", f"Redis does not answer: {error}")
    except OSError as error:
        outcome.obstacle = Text(f"无法读取文件：{error}", f"a file cannot be read: {error}")
    except Exception as error:  # one check that fails must not hide the others
        _logger.exception("the check %s failed", invariant.name)
        kind = type(error).__name__
        outcome.obstacle = Text(
            f"有一条记录无法读取（{kind}），堆栈见日志",
            f"a record cannot be read ({kind}); the log has the traceback",
        )
    return outcome
