"""`zpcode issue` and `zpcode batches list|show|activate`: batches of codes from a command line.

Who runs these commands acts as the operator. The audit log records the login name.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from keys.client import SignerClient
from zpcode.cli.code_files import Number
from zpcode.cli.code_files import app as code_files
from zpcode.cli.connections import code_folder, database, operator, project
from zpcode.cli.output import progress_bar, to_second
from zpcode.errors import Finding, Refused, Text
from zpcode.exports.formats import EXPORTS
from zpcode.rules.batches.batch import DEFAULT_FORMAT, Activation, Batch, BatchRequest
from zpcode.rules.paging import MAX_PAGE
from zpcode.services.batches import code_file, reserve
from zpcode.services.batches import issue as issuing
from zpcode.settings import load
from zpcode.wire.gs1 import gtin14
from zpcode.wire.payload import Level

app = typer.Typer(add_completion=False, no_args_is_help=True, help="码批次 / batches of codes")
app.add_typer(code_files)
commands = typer.Typer(add_completion=False)

_STATES: Final = {"reserved": "已预留", "issued": "已生成"}

Folder = Annotated[Path | None, typer.Option(help="文件目录 / folder of the files (ZPCODE_EXPORT_DIR)")]
Day = Annotated[str, typer.Option(help="YYYY-MM-DD")]


@commands.command("issue")
def issue(
    level: Annotated[Level, typer.Option(help="层级 / level: what one code identifies")],
    gtin: Annotated[str, typer.Option(help="商品条码 / GTIN")],
    quantity: Annotated[
        int, typer.Option(help="数量；品类码与批次码为标签数 / number of codes; at product and lot level, of labels")
    ],
    *,
    lot: Annotated[str, typer.Option(help="批号 / lot (AI 10)")] = "",
    production_date: Day = "",
    expiry_date: Day = "",
    file_format: Annotated[
        str, typer.Option("--format", help=f"文件格式 / format of the file: {', '.join(EXPORTS)}")
    ] = DEFAULT_FORMAT,
    activation: Annotated[
        Activation, typer.Option(help="激活方式 / when the codes become active")
    ] = Activation.ON_ISSUE,
    key: Annotated[
        str, typer.Option(help="幂等键：中断后用同一键继续 / idempotency key: the same key continues the same batch")
    ] = "",
    directory: Folder = None,
) -> None:
    """预留并生成一批码。Reserve a batch and write its file. With the same key, an interrupted command continues."""
    request = BatchRequest(
        level=level,
        gtin=gtin14(gtin) or gtin,
        quantity=quantity,
        lot=lot,
        production_date=_day(production_date),
        expiry_date=_day(expiry_date),
        format=file_format,
        activation=activation,
    )
    settings = load()
    with database(settings) as engine:
        batch = reserve.reserve(
            engine,
            request,
            caller=operator(),
            idempotency_key=key or f"cli-{secrets.token_hex(12)}",
            base=settings.public_base,
            now=_now(),
        )
        typer.echo(f"批次 / batch {batch.number}")
        folder = code_folder(settings, directory)
        with SignerClient(settings.signer_socket) as signer, progress_bar(batch.codes) as progress:
            batch = issuing.issue(engine, signer, batch.number, folder=folder, clock=_now, progress=progress)
        project(engine, settings)
    typer.echo(f"{folder.finished(batch)}\nsha256 {batch.sha256}  {batch.bytes} bytes")
    typer.echo(
        f"文件已加密，取明文请执行 / the file is encrypted; for its content: zpcode batches export {batch.number} --to FILE --reason WHY"
    )


@app.command("list")
def list_(
    *,
    after: Annotated[int | None, typer.Option(help="从该序号之后继续 / only batches after this number")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_PAGE, help="条数 / number of batches")] = 50,
) -> None:
    """列出批次，新的在前。List batches, newest first."""
    with database(load()) as engine:
        for batch in reserve.listing(engine, operator(), after, limit):
            typer.echo(
                f"{batch.number}\t{_state(batch)}\t{batch.level}\t{batch.gtin}\t{batch.quantity}\t{_time(batch.created_at)}"
            )


@app.command("show")
def show(number: Number) -> None:
    """显示一个批次。Show one batch."""
    settings = load()
    with database(settings) as engine:
        batch = reserve.get(engine, number, operator())
    for name, value in _fields(batch, code_file.progress(code_folder(settings), batch)):
        typer.echo(f"{name}: {value}")


@app.command("activate")
def activate(number: Number) -> None:
    """激活一个批次。Activate a batch: its codes are valid from now on."""
    settings = load()
    with database(settings) as engine:
        batch = reserve.activate(engine, number, operator(), _now())
        project(engine, settings)
    typer.echo(f"批次 {number} 已激活 / batch {number} active since {_time(batch.activated_at)}")


def _fields(batch: Batch, written: int) -> Iterator[tuple[str, str]]:
    """A batch as lines of name and value, without its secret keys."""
    yield "批次 / batch", str(batch.number)
    yield "状态 / state", _state(batch)
    if batch.problem is not None:
        yield "等待原因 / reason for waiting", f"{batch.problem.zh} / {batch.problem.en}"
    yield "企业 / enterprise", batch.uscc
    yield "GTIN", batch.gtin
    yield "层级 / level", batch.level.value
    yield "数量 / quantity", str(batch.quantity)
    yield "已写 / written", f"{batch.codes if batch.sha256 else written} / {batch.codes}"
    for name, value in (
        ("批号 / lot", batch.lot),
        ("生产日期 / production date", str(batch.production_date or "")),
        ("有效期至 / expiry date", str(batch.expiry_date or "")),
        ("密钥 / key id", batch.key_id),
        ("sha256", batch.sha256),
        ("生成 / issued", _time(batch.issued_at)),
        ("激活 / activated", _time(batch.activated_at)),
        ("文件已清除 / file removed", _time(batch.file_removed_at)),
    ):
        if value:
            yield name, value
    yield "申请 / ordered by", f"{batch.created_by}, {_time(batch.created_at)}"


def _state(batch: Batch) -> str:
    return f"{_STATES[batch.state.value]} / {batch.state.value}"


def _time(moment: datetime | None) -> str:
    return "" if moment is None else to_second(moment)


def _day(text: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        reason = Text(f"日期 {text!r} 须写成 YYYY-MM-DD", f"the date {text!r} must be written as YYYY-MM-DD")
        raise Refused(reason, (Finding("dates", reason, value=text[:80]),)) from None


def _now() -> datetime:
    return datetime.now(UTC)
