"""`zpcode recover`: bring forward a database that was restored from a backup (docs/recovery.md).

Exit status: 0 the database is not behind (any more) and nothing waits, 1 it is behind or something waits for a person, 2 wrong usage.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from keys.client import SignerClient
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
from zpcode.services.continuity import settling
from zpcode.services.continuity import waiting as waiting_items
from zpcode.services.continuity.batches import RecoveredBatch
from zpcode.services.continuity.decisions import EnteredDecision
from zpcode.services.continuity.recover import recover
from zpcode.services.continuity.report import RecoveryReport, RecoverySetting
from zpcode.services.continuity.waiting import WaitingItem, shown_text, standing_text
from zpcode.settings import AuthoritySettings, load
from zpcode.store.database.session import Engine, transaction
from zpcode.store.monitoring.integrity import remove_time_limit
from zpcode.store.recovery_held import HeldDecision, HeldKind
from zpcode.wire.payload import MAX_BATCH

app = typer.Typer(add_completion=False)

_REDIS_SECONDS: Final = 5.0
_SHOWN: Final = 50
_KEY_LENGTH: Final = 80
_API_KEYS: Final = (
    "备份之后撤销的访问密钥重新有效，备份之后创建的已不存在 / API keys that were revoked after the backup are valid again; those made since are gone",
    "  请核对 / check: zpcode access list    需要的再次撤销 / revoke again: zpcode access revoke ID",
)
_OUTCOMES: Final = {
    "issued": ("凭码文件恢复为已生成", "restored as issued: its file proves it"),
    "finished": ("备份后才生成，凭码文件补记", "issued after the backup: its file proves it"),
    "conflict": ("在数据库与缓存中的码不同；缓存中的那批不予恢复", "has other codes in the database than in Redis; those of Redis are not restored"),
    "signed": ("没有码文件，签名日志可证明其码，待核对后确认", "has no file, but the signer's log proves its codes: it waits to be confirmed"),
    "unproven": ("只有缓存中有其卡片，无从证明，不予补记；扫码显示“暂时无法确认”，尚未印制的请重新下单", "only Redis has a card of it and nothing proves it: not entered again, its codes say that they cannot be confirmed; order again what is not printed"),
    "lost": ("没有记录：序号不再使用，扫码显示“暂时无法确认”", "without a record: not given again, and codes of it would say that they cannot be confirmed"),
}  # fmt: skip


@app.command("recover")
def recover_(
    *,
    apply: Annotated[
        str,
        typer.Option(
            metavar="DIGEST",
            help="按显示的内容执行，须给出其摘要；不加此项则只显示 / do exactly what was shown with this digest; without this only show",
        ),
    ] = "",
    confirm: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="确认所列的一项；可多次使用 / confirm what is listed under this name; may be repeated"
        ),
    ] = None,
    confirm_all: Annotated[
        str,
        typer.Option(
            metavar="DIGEST", help="确认所列的全部，须给出清单的摘要 / confirm the whole list with this digest"
        ),
    ] = "",
    reject: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="否定所列的一项；可多次使用 / reject what is listed under this name; may be repeated"
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
            "--even-so",
            help="确认跳过一万个以上的批次序号或一百万条以上的审计条目，或补记一万项以上的决定 / leave out more than 10 000 batch numbers or 1 000 000 audit entries, or enter more than 10 000 decisions",
        ),
    ] = False,
) -> None:
    """数据库由备份恢复后，按缓存、码文件与签名服务所记，补记批次与决定。After a restore: enter again what Redis, files and signer prove."""
    settings = load()
    if confirm or reject or confirm_all:
        _settle(settings, confirm or (), reject or (), confirm_all)
        return
    with ungated_database(settings) as engine, ExitStack() as resources:
        remove_time_limit(engine)
        setting = _setting(settings, engine, resources, without or (), above, even_so=even_so)
        report = recover(setting, agreed=apply or None)
        for line in lines(report):
            typer.echo(line)
        if apply and (report.evidence or report.batches):
            project(engine, settings)
        with transaction(engine) as connection:
            items = waiting_items.listing(connection, setting.now)
    for line in waiting_lines(items):
        typer.echo(line)
    if not apply and (report.evidence or report.batches):
        typer.echo("以上尚未执行；核对后执行 / nothing was done yet; read it, then do it with:")
        typer.echo(f"zpcode recover --apply {report.digest}{_options(without or (), above, even_so=even_so)}")
        raise typer.Exit(1)
    if apply:
        typer.echo(
            f"已恢复（第 {report.number} 次）；各进程随即恢复工作 / recovered (number {report.number}); every process works again"
        )
    if items:
        raise typer.Exit(1)


def _options(without: Sequence[str], above: int, *, even_so: bool) -> str:
    """The options of this look, which the command that applies it needs too."""
    options = "".join(f" --without {shlex.quote(name)}" for name in without)
    return options + (f" --above {above}" if above else "") + (" --even-so" if even_so else "")


def _setting(
    settings: AuthoritySettings,
    engine: Engine,
    resources: ExitStack,
    without: Sequence[str] = (),
    above: int = 0,
    *,
    even_so: bool = False,
) -> RecoverySetting:
    signer = None if "signer" in without else resources.enter_context(SignerClient(settings.signer_socket))
    return RecoverySetting(
        engine,
        resources.enter_context(cache(settings, seconds=_REDIS_SECONDS)),
        code_folder(settings),
        witnesses_of(settings, resources),
        lambda: keyring_of(settings),
        settings.public_base,
        operator(),
        datetime.now(UTC),
        without,
        above,
        even_so,
        signer,
    )


def lines(report: RecoveryReport) -> Iterator[str]:
    """A report line by line: all that is entered, so that the operator has read what he agrees to."""
    if not report.evidence:
        yield "数据库没有落后 / the database is not behind"
        yield from _batches(report.batches)
        return
    yield "数据库落后于 / the database is behind:"
    for one in report.evidence:
        yield f"  - {one.text.zh} / {one.text.en}"
    first, last = report.lost_entries
    if first <= last:
        yield f"审计日志丢失第 {first} 至 {last} 条 / entries {first} to {last} of the audit log are lost"
    yield from _uncertain(report)
    yield from _API_KEYS
    yield from _batches(report.batches)
    for activation in report.activations:
        since = to_second(activation.activated_at)
        yield f"批次 {activation.number} 自 {since} 起的启用待确认 / batch {activation.number}: its activation at {since} waits"
    yield from map(_decision, report.decisions)
    yield from map(_milder, (one for one in report.waiting if one.kind is HeldKind.MILDER))
    if report.kept:
        yield "产品资料比缓存旧：认定按两者中较严的显示，库中没有的显示“无法确认”；请重新导入登记文件 / products are older than in Redis: of their recognition the stricter is shown, those without a record cannot be confirmed; import the registry file again:"
        yield from (f"  - {key}" for key in report.kept)
    if report.unproven:
        yield "缓存中另有数据库没有的内容，无从补记，请重新导入或登记 / Redis also has what cannot be entered again; import or record it again:"
        yield from (f"  - {_printable(key)}" for key in report.unproven[:_SHOWN])
        if len(report.unproven) > _SHOWN:
            yield f"  … 共 {len(report.unproven)} 项 / {len(report.unproven)} in all"


def _batches(batches: Sequence[RecoveredBatch]) -> Iterator[str]:
    """One line for each batch; those without a record that follow each other are one line."""
    runs: list[tuple[int, int, str]] = []
    for batch in sorted(batches):
        if runs and batch.outcome == "lost" == runs[-1][2] and batch.number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], batch.number, "lost")
        else:
            runs.append((batch.number, batch.number, batch.outcome))
    for first, last, outcome in runs:
        zh, en = _OUTCOMES[outcome]
        if first == last:
            yield f"批次 {first} {zh} / batch {first} {en}"
        else:
            yield f"批次 {first} 至 {last} {zh} / batches {first} to {last} {en}"


def _printable(key: str) -> str:
    """A key of Redis as text that a terminal takes for text: anybody may have written it."""
    shown = key if len(key) <= _KEY_LENGTH else f"{key[:_KEY_LENGTH]}…"
    return shown if shown.isprintable() else ascii(shown)


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


def _decision(one: EnteredDecision) -> str:
    change = one.change
    items = "" if change.first is None else f" {change.first}–{change.last}"
    claim = standing_text(one.claim)
    return (
        f"先行保护，待确认 / held until confirmed: {change.scope}:{change.target}{items} {change.state}；缓存所示 {claim.zh} / Redis"
        f" showed {claim.en}"
    )


def _milder(one: HeldDecision) -> str:
    items = "" if one.span is None else f" {one.first}–{one.last}"
    shown = shown_text(one)
    return (
        f"现按较重的决定，待确认 / the graver decision holds until confirmed: {one.scope}:{one.target}{items}；缓存所示 {shown.zh} /"
        f" Redis showed {shown.en}"
    )


def waiting_lines(items: Sequence[WaitingItem]) -> Iterator[str]:
    """What waits for a person, and how to confirm all of it."""
    if not items:
        return
    yield "待确认或否定 / to confirm or reject:"
    for item in items:
        yield f"  - {item.name} {item.text.zh} / {item.text.en}"
    yield "逐项：zpcode recover --confirm 名称，或 --reject 名称 / one by one: zpcode recover --confirm NAME, or --reject NAME"
    if any(item.confirmable for item in items):
        yield f"全部 / all of them: zpcode recover --confirm-all {waiting_items.digest_of(items)}"


def _settle(settings: AuthoritySettings, confirm: Sequence[str], reject: Sequence[str], confirm_all: str) -> None:
    with database(settings) as engine, ExitStack() as resources:
        setting = _setting(settings, engine, resources)
        recorded = settling.confirm_all(setting, confirm_all) if confirm_all else []
        recorded += [*settling.confirm(setting, confirm), *settling.reject(setting, reject)]
        for text in recorded:
            typer.echo(f"{text.zh} / {text.en}")
        project(engine, settings)
