"""`zpcode recover`: bring forward a database that was restored from a backup (docs/recovery.md).

Exit status: 0 the database is not behind (any more), 1 it is behind or something has to be confirmed, 2 wrong usage.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Annotated, Final

import msgspec
import typer

from zpcode.cli.connections import (
    cache,
    code_folder,
    database,
    keyring_of,
    operator,
    project,
    ungated_database,
    witnesses_of,
)
from zpcode.cli.output import to_second
from zpcode.rules.status.decisions import ACTIONS
from zpcode.rules.status.permissions import StatusChange
from zpcode.services.continuity import confirm as confirming
from zpcode.services.continuity.batches import RecoveredBatch
from zpcode.services.continuity.recover import recover
from zpcode.services.continuity.report import RecoveryReport, RecoverySetting
from zpcode.settings import AuthoritySettings, load
from zpcode.store.database.session import Engine, transaction
from zpcode.store.monitoring.integrity import remove_time_limit
from zpcode.store.recovery import HeldDecision, held_decisions
from zpcode.wire.card import Timeline
from zpcode.wire.payload import MAX_BATCH
from zpcode.wire.vocabulary import Scope

app = typer.Typer(add_completion=False)

_REDIS_SECONDS: Final = 5.0
_SHOWN: Final = 50
_OUTCOMES: Final = {
    "issued": ("按卡片与码文件恢复为已生成", "restored as issued, from its card and its file"),
    "reserved": ("按卡片恢复为待生成", "restored as reserved, from its card"),
    "finished": ("备份后才生成，按卡片与码文件补记", "issued after the backup: entered from its card and its file"),
    "activated": ("激活已补记", "its activation is entered again"),
    "conflict": ("数据库在此序号下是另一批码；缓存中的那一批无法恢复", "the database has other codes under this number; those that Redis knows cannot be restored"),
    "lost": ("没有记录：序号不再使用，扫码显示“暂时无法确认”", "without a record: not given again, and codes of it would say that they cannot be confirmed"),
}  # fmt: skip


@app.command("recover")
def recover_(
    *,
    apply: Annotated[
        bool, typer.Option("--apply", help="执行；不加此项则只显示 / do it; without this only show")
    ] = False,
    confirm: Annotated[
        list[str] | None,
        typer.Option(
            help="范围:对象，确认其较轻的状态无误；可多次使用 / SCOPE:TARGET whose milder state was right; may be repeated"
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="略过此见证方（没有应答、已清空或已损坏）：redis、files 或 signer / leave out this witness: it is silent, empty or damaged"
        ),
    ] = None,
    above: Annotated[
        int,
        typer.Option(
            min=0, max=MAX_BATCH, help="可能已发放的最大批次序号 / the highest batch number that may have been given"
        ),
    ] = 0,
    even_so: Annotated[
        bool,
        typer.Option(
            "--even-so", help="确认跳过一万个以上的批次序号 / more than 10 000 batch numbers are to be left out"
        ),
    ] = False,
) -> None:
    """数据库由备份恢复后，按缓存、码文件与签名服务所记，补记批次与决定。After a restore: enter again what Redis, files and signer prove."""
    settings = load()
    if confirm:
        _confirm(settings, confirm)
        return
    with ungated_database(settings) as engine, ExitStack() as resources:
        remove_time_limit(engine)
        redis = resources.enter_context(cache(settings, seconds=_REDIS_SECONDS))
        setting = RecoverySetting(
            engine,
            redis,
            code_folder(settings),
            witnesses_of(settings, resources),
            lambda: keyring_of(settings),
            settings.public_base,
            operator(),
            datetime.now(UTC),
            without or (),
            above,
            even_so,
        )
        report = recover(setting, apply=apply)
        for line in lines(report, applied=apply):
            typer.echo(line)
        if apply and report.evidence:
            project(engine, settings)
        unconfirmed = _unconfirmed(engine) if apply or not report.evidence else report.unconfirmed
    _print_unconfirmed(unconfirmed)
    if unconfirmed or (report.evidence and not apply):
        raise typer.Exit(1)


def lines(report: RecoveryReport, *, applied: bool) -> Iterator[str]:
    """A report line by line."""
    if not report.evidence:
        yield "数据库没有落后 / the database is not behind"
        return
    yield "数据库落后于 / the database is behind:"
    for one in report.evidence:
        yield f"  - {one.text.zh} / {one.text.en}"
    first, last = report.lost_entries
    if first <= last:
        yield f"审计日志丢失第 {first} 至 {last} 条 / entries {first} to {last} of the audit log are lost"
    yield from _uncertain(report)
    runs = _runs(report.batches)
    for first, last, outcome in runs[:_SHOWN]:
        zh, en = _OUTCOMES[outcome]
        if first == last:
            yield f"批次 {first} {zh} / batch {first} {en}"
        else:
            yield f"批次 {first} 至 {last} {zh} / batches {first} to {last} {en}"
    yield from _more(len(runs))
    for decision in report.decisions[:_SHOWN]:
        yield f"补记决定 / decision entered again: {_decision(decision)}"
    yield from _more(len(report.decisions))
    if report.kept:
        yield "以下产品卡片沿用缓存中的内容，请重新导入登记文件 / product cards stay as Redis had them; import the registry file again:"
        yield from (f"  - {key}" for key in report.kept[:_SHOWN])
        yield from _more(len(report.kept))
    if report.unproven:
        yield "以下内容只在缓存中，无法补记，请重新导入或登记 / Redis also has what cannot be entered again; import or record it again:"
        yield from (f"  - {key}" for key in report.unproven[:_SHOWN])
        yield from _more(len(report.unproven))
    if applied:
        yield f"恢复完成（第 {report.number} 次）；各进程自动继续工作，无需重启 / recovered (number {report.number}); every process works again, without a restart"
    else:
        yield "以上尚未执行；如需执行，请用 zpcode recover --apply / nothing was done yet; do it with: zpcode recover --apply"


def _uncertain(report: RecoveryReport) -> Iterator[str]:
    """Which decisions may be missing, because Redis does not know them."""
    if report.uncertain_since is None:
        return
    since = to_second(report.uncertain_since)
    yield (
        f"注意：{since} 之后作出的撤销等决定可能已丢失且无法查证；请逐一核对并重新登记，否则已撤销的码会显示为有效 / WARNING: revocations"
        f" and other decisions after {since} may be missing and cannot be proven; enter each of them again, or codes that were"
        " revoked are shown as good"
    )
    first, last = report.uncertain_entries
    if first <= last:
        yield (
            f"  审计日志丢失的第 {first} 至 {last} 条中可能有这样的决定 / entries {first} to {last} of the audit log are lost and may have"
            " been such decisions"
        )


def _runs(batches: Sequence[RecoveredBatch]) -> list[tuple[int, int, str]]:
    """First number, last number and outcome: those without a record that follow each other are one run."""
    runs: list[tuple[int, int, str]] = []
    for batch in batches:
        if runs and batch.outcome == "lost" == runs[-1][2] and batch.number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], batch.number, "lost")
        else:
            runs.append((batch.number, batch.number, batch.outcome))
    return runs


def _more(count: int) -> Iterator[str]:
    if count > _SHOWN:
        yield f"  … 共 {count} 项 / {count} in all"


def _decision(one: StatusChange) -> str:
    items = "" if one.first is None else f" {one.first}–{one.last}"
    notice = f" {one.notice}" if one.notice else ""
    return f"{one.scope}:{one.target}{items} {ACTIONS[one.action].zh} {one.action} ({one.reason}){notice}"


def _unconfirmed(engine: Engine) -> list[HeldDecision]:
    with transaction(engine) as connection:
        return held_decisions(connection)


def _print_unconfirmed(unconfirmed: list[HeldDecision]) -> None:
    """What a person has to confirm: Redis showed a milder state, so a restoration may be lost."""
    for one in unconfirmed[:_SHOWN]:
        timeline = msgspec.msgpack.decode(one.timeline, type=Timeline)
        shown = ", ".join(standing.state.value for standing in timeline.standings) or "good"
        items = f" {one.first}–{one.last}" if one.scope is Scope.RANGE else ""
        typer.echo(
            f"待确认 / to confirm: {one.scope}:{one.target}{items}：缓存显示 {shown}，目前以较重的决定为准，如缓存所示无误，请执行行末的命令 / Redis showed {shown}, the "
            f"graver decision holds; if Redis was right: zpcode recover --confirm {one.scope}:{one.target}"
        )


def _confirm(settings: AuthoritySettings, targets: list[str]) -> None:
    with database(settings) as engine:
        for text in targets:
            scope, colon, target = text.partition(":")
            if not colon or scope not in set(Scope):
                raise typer.BadParameter("--confirm 应为 范围:对象，如 batch:6 / SCOPE:TARGET, such as batch:6")
            for change in confirming.confirm(engine, Scope(scope), target, caller=operator(), now=datetime.now(UTC)):
                typer.echo(f"已记录 / recorded: {_decision(change)}")
        project(engine, settings)
