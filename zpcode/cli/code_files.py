"""`zpcode batches export|encrypt|archive`: the code files of issued batches.

Who runs these commands acts as the operator. The audit log records the login name.
"""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from keys.client import SignerClient
from keys.document import ArchiveStatement, KeyState, statement_bytes
from keys.files import read_public, replace_file
from keys.keyring import Keyring, read_root
from zpcode.cli.connections import code_folder, database, operator
from zpcode.cli.output import progress_bar
from zpcode.errors import Finding, Refused, Text
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches import downloads, file_keys, reserve
from zpcode.services.batches import encrypt as encryption
from zpcode.services.batches.archive import KeyArchive
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.rewrite import reissue
from zpcode.settings import AuthoritySettings, load
from zpcode.wire.payload import MAX_BATCH

app = typer.Typer(add_completion=False)

Number = Annotated[int, typer.Argument(min=1, max=MAX_BATCH, help="批次序号 / batch number")]


@app.command("export")
def export(
    number: Number,
    *,
    to: Annotated[
        str,
        typer.Option(help="明文写入的新文件；- 为标准输出 / new file for the content, decrypted; - is standard output"),
    ] = "",
    reason: Annotated[
        str, typer.Option(help="取明文的原因，记入审计日志 / why the content is fetched, for the audit log")
    ] = "",
) -> None:
    """取得已生成批次的文件；缺失或损坏时原样重写。Get the file of an issued batch. A missing or damaged file is written again."""
    settings = load()
    folder = code_folder(settings)
    if to:
        downloads.check_reason(operator(), reason)
    with database(settings) as engine, SignerClient(settings.signer_socket) as signer:
        batch = reserve.get(engine, number, operator())
        with progress_bar(batch.codes) as progress:
            actor = operator().name
            path = reissue(engine, signer, number, folder=folder, clock=_now, actor=actor, progress=progress)
        if to:
            downloads.record(engine, batch, 0, batch.bytes - 1, reason, caller=operator(), now=_now())
            _write_content(folder, batch, to)
    typer.echo(f"{to or path}\nsha256 {batch.sha256}  {batch.bytes} bytes", err=to == "-")


@app.command("encrypt")
def encrypt(
    *,
    new_key: Annotated[bool, typer.Option("--new-key", help="先生成新密钥 / begin with a new key")] = False,
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
    typer.echo(
        f"已保存签名的批次 / signatures kept: {kept}；只保存文件的批次 / kept as a file: {files}；码 / codes: {result.codes}"
    )
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
    keyring = Keyring.load(read_public(settings.keyring), read_root(settings.root_public))
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


def _now() -> datetime:
    return datetime.now(UTC)
