"""`zpcode fsck` checks the invariants. Exit status: 0 all hold, 1 at least one does not, 2 wrong usage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from zpcode.cli.connections import cache, code_folder, countersigned_heads, database, gate_of, keyring_of
from zpcode.cli.output import finding_line
from zpcode.errors import Text
from zpcode.services.fsck import run
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import CheckResult, InvariantState
from zpcode.settings import load
from zpcode.store.monitoring.integrity import remove_time_limit

app = typer.Typer(add_completion=False)

_REDIS_SECONDS: Final = 5.0
_STATES: Final = {
    InvariantState.HOLDS: ("成立", "holds"),
    InvariantState.REPAIRED: ("已修复", "repaired"),
    InvariantState.BROKEN: ("不成立", "broken"),
    InvariantState.UNKNOWN: ("无法检查", "could not be checked"),
}


@app.command("fsck")
def fsck(
    *,
    deep: Annotated[
        bool, typer.Option("--deep", help="逐一检查每个码和每件产品的扫码历史 / every code, every history")
    ] = False,
    repair: Annotated[bool, typer.Option("--repair", help="修复可推算的部分 / repair derived data")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="以 JSON 输出 / as one JSON object")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="只检查这一项，可重复 / only this check; may be repeated")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(help="文件目录 / folder of the code files (ZPCODE_EXPORT_DIR)")
    ] = None,
) -> None:
    """核对所有不变量：号段、计数、审计链、码文件、缓存、扫码。Check all invariants and report those that do not hold."""
    if unknown := sorted(set(only or ()) - set(run.NAMES)):
        names = ", ".join(run.NAMES)
        raise typer.BadParameter(
            f"没有检查项 {unknown[0][:80]}；可选 / no such check; choose from: {names}", param_hint="--only"
        )
    settings = load()
    with (
        database(settings) as engine,
        cache(settings, seconds=_REDIS_SECONDS) as redis,
        ExitStack() as resources,
    ):
        remove_time_limit(engine)
        context = CheckContext(
            engine,
            redis,
            code_folder(settings, directory),
            lambda: keyring_of(settings),
            datetime.now(UTC),
            gate_of(engine, settings, resources).compare,
            deep=deep,
            repair=repair,
            heads=lambda: countersigned_heads(settings),
        )
        report = run.check(context, only=only or (), report=_silent if as_json else _print)
    if as_json:
        outcomes = [_plain(outcome) for outcome in report.outcomes]
        typer.echo(json.dumps({"whole": report.whole, "deep": deep, "checks": outcomes}, ensure_ascii=False, indent=1))
    if not report.whole:
        raise typer.Exit(1)


def _silent(_: CheckResult) -> None:
    """With --json everything is printed at the end."""


def _print(outcome: CheckResult) -> None:
    for line in lines(outcome):
        typer.echo(line)


def lines(outcome: CheckResult) -> Iterator[str]:
    """An invariant line by line: whether it holds, all findings, all repairs, and what to do."""
    title, (zh, en) = outcome.invariant.title, _STATES[outcome.state]
    yield f"[{zh} / {en}] {outcome.invariant.name} ({outcome.examined}): {title.zh} / {title.en}"
    if outcome.obstacle is not None:
        yield f"    {outcome.obstacle.zh} / {outcome.obstacle.en}"
    for finding in outcome.findings:
        yield f"  {finding_line(finding)}"
    if outcome.wrong > len(outcome.findings):
        yield f"  - … 共 {outcome.wrong} 处 / {outcome.wrong} in all"
    for repair in outcome.repairs:
        yield f"  + {repair.zh} / {repair.en}"
    if outcome.state is InvariantState.BROKEN:
        yield f"  → {outcome.remedy.zh}\n    {outcome.remedy.en}"


def _plain(outcome: CheckResult) -> dict[str, Any]:
    return {
        "name": outcome.invariant.name,
        "state": outcome.state.value,
        "title": _both(outcome.invariant.title),
        "examined": outcome.examined,
        "wrong": outcome.wrong,
        "mended": outcome.repaired,
        "hindrance": None if outcome.obstacle is None else _both(outcome.obstacle),
        "findings": [
            {"reason": finding.reason, "where": finding.where, "value": finding.value, "text": _both(finding.text)}
            for finding in outcome.findings
        ],
        "repairs": [_both(repair) for repair in outcome.repairs],
        "remedy": _both(outcome.remedy) if outcome.state is InvariantState.BROKEN else None,
    }


def _both(text: Text) -> dict[str, str]:
    return {"zh": text.zh, "en": text.en}
