"""`zpcode issue` and `zpcode batches list|show|activate|export`: batches of codes from a command line.

Who runs these commands acts as the operator. The audit log records the login name.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from keys.client import SignerClient
from keys.document import ArchiveStatement, KeyState, statement_bytes
from keys.files import replace_file
from keys.keyring import Keyring, read_root
from zpcode.cli.connections import code_folder, database, operator, project
from zpcode.cli.output import to_second
from zpcode.errors import Finding, Refused, Text
from zpcode.exports.formats import EXPORTS
from zpcode.rules.batches.batch import DEFAULT_FORMAT, Activation, Batch, BatchRequest
from zpcode.rules.paging import MAX_PAGE
from zpcode.services.batches import code_file, file_keys, reserve
from zpcode.services.batches import encrypt as encryption
from zpcode.services.batches import issue as issuing
from zpcode.services.batches.archive import KeyArchive
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.rewrite import reissue
from zpcode.settings import AuthoritySettings, load
from zpcode.wire.gs1 import gtin14
from zpcode.wire.payload import MAX_BATCH, Level

app = typer.Typer(add_completion=False, no_args_is_help=True, help="码批次 / batches of codes")
commands = typer.Typer(add_completion=False)

_STATES: Final = {"reserved": "已预留", "issued": "已生成"}

Number = Annotated[int, typer.Argument(min=1, max=MAX_BATCH, help="批次序号 / batch number")]
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
        with SignerClient(settings.signer_socket) as signer, _bar(batch.codes) as progress:
            batch = issuing.issue(engine, signer, batch.number, folder=folder, clock=_now, progress=progress)
        project(engine, settings)
    typer.echo(f"{folder.finished(batch)}\nsha256 {batch.sha256}  {batch.bytes} bytes")
    typer.echo(
        f"文件已加密，取明文请执行 / the file is encrypted; for its content: zpcode batches export {batch.number} --to FILE"
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


@app.command("export")
def export(
    number: Number,
    *,
    to: Annotated[
        str,
        typer.Option(help="写出明文的新文件；- 为标准输出 / new file for the content, decrypted; - is standard output"),
    ] = "",
) -> None:
    """取得已生成批次的文件；缺失或损坏时原样重写。Get the file of an issued batch. A missing or damaged file is written again."""
    settings = load()
    folder = code_folder(settings)
    with database(settings) as engine, SignerClient(settings.signer_socket) as signer:
        batch = reserve.get(engine, number, operator())
        with _bar(batch.codes) as progress:
            actor = operator().name
            path = reissue(engine, signer, number, folder=folder, clock=_now, actor=actor, progress=progress)
    if to:
        _write_content(folder, batch, to)
    typer.echo(f"{to or path}\nsha256 {batch.sha256}  {batch.bytes} bytes", err=to == "-")


@app.command("encrypt")
def encrypt(
    *,
    new_key: Annotated[bool, typer.Option("--new-key", help="先换新密钥 / begin with a new key")] = False,
) -> None:
    """用当前密钥重新加密所有码文件。Encrypt all code files with the current key; with --new-key, with a new one."""
    settings = load()
    if new_key:
        file_keys.add(settings.file_key)
    with database(settings) as engine:
        report = encryption.encrypt_all(engine, code_folder(settings), lambda number: typer.echo(str(number)))
    for number, text in report.refused.items():
        typer.echo(f"{number}: {text.zh} / {text.en}", err=True)
    typer.echo(f"已重新加密 / encrypted: {report.written}；未能处理 / not possible: {len(report.refused)}")
    if report.refused:
        raise typer.Exit(1)


@app.command("archive")
def archive(
    *,
    key: Annotated[str, typer.Option(help="签名密钥编号 / id of the signing key")],
    statement: Annotated[
        Path | None, typer.Option(help="归档声明文件 / file for the statement, for zpkeys retire")
    ] = None,
) -> None:
    """停用密钥前，保存其批次的签名。Before a key is retired: keep the signatures of its batches.

    The statement is written only if nothing is missing and the key can start no batch any more.
    """
    settings = load()
    serial = None if statement is None else _serial_of_retiring(settings, key)
    with database(settings) as engine, SignerClient(settings.signer_socket) as signer:
        folder, actor = code_folder(settings), operator().name
        result = KeyArchive(engine, signer, folder, actor, _now()).archive(key)
    kept, files = len(result.archived), len(result.as_files)
    typer.echo(f"已存签名 / signatures kept: {kept}；仅存文件 / kept as a file: {files}；码 / codes: {result.codes}")
    for number in result.unfinished:
        typer.echo(f"{number}: 尚未生成完毕 / not issued yet, or being written", err=True)
    for number, text in result.refused.items():
        typer.echo(f"{number}: {text.zh} / {text.en}", err=True)
    if not result.complete:
        raise typer.Exit(1)
    if statement is not None and serial is not None:
        stated = ArchiveStatement(key, serial, kept + files, result.codes, _now())
        replace_file(statement, statement_bytes(stated), 0o644)
        typer.echo(f"{statement}: zpkeys retire {key} --archived {statement}")


def _serial_of_retiring(settings: AuthoritySettings, key_id: str) -> int:
    """The serial of the keyring in which the key is retiring. Raises Refused if it is not: it may still start batches."""
    keyring = Keyring.load(settings.keyring.read_bytes(), read_root(settings.root_public))
    key = keyring.get(key_id)
    if key is None or key.state is not KeyState.RETIRING:
        state = "-" if key is None else key.state
        reason = Text(
            f"密钥 {key_id} 的状态是 {state}，须为 retiring；请先执行 zpkeys rotate",
            f"the state of key {key_id} is {state}, not retiring; run zpkeys rotate first",
        )
        raise Refused(reason, (Finding("key_state", reason, value=key_id[:80]),))
    return keyring.serial


def _write_content(folder: CodeFolder, batch: Batch, to: str) -> None:
    """Write the content of a finished file to a new file of mode 0600, or to standard output."""
    with folder.open(batch) as source:
        if to == "-":
            shutil.copyfileobj(source, sys.stdout.buffer)
            return
        descriptor = os.open(to, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            shutil.copyfileobj(source, target)


@contextmanager
def _bar(codes: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error, if that is a terminal: in a log it would only be noise."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("生成 / writing", total=codes)
        yield lambda done: bar.update(task, completed=done)


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
