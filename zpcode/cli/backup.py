"""`zpcode backup` and `zpcode restore-backup`. Exit status of `--check`: 0 all is well, 1 something is not.

docs/recovery.md has the order of a recovery, and what a backup does not contain.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Final

import typer

from zpcode.cli.output import finding_line, to_second
from zpcode.embedded.servers import Servers
from zpcode.errors import Findings, Text
from zpcode.services.backups import archive, check, files, make, prune, restore
from zpcode.services.backups.folder import Backup, BackupFolder
from zpcode.services.backups.make import BackupSource
from zpcode.services.backups.programs import TO_BACK_UP, programs_for
from zpcode.services.pictures.storage import PictureStorage
from zpcode.settings import AuthoritySettings, load
from zpcode.store.database.session import Engine, connect
from zpcode.wire.calendar import SHANGHAI

app = typer.Typer(add_completion=False)

_PASSWORD: Final = re.compile(r"(://[^:@/]*:).*(?=@)|([?&](?:ssl)?password=)[^&]*")
_WHY: Final = Text(
    "恢复后的数据库没有备份之后印出的码和作出的决定；执行此命令之前不签发",
    "the restored database is older than the printed codes and the decisions; nothing is issued before this is run",
)
_MODES: Final = "--wal, --files, --check"


@app.command("backup")
def backup(
    directory: Annotated[Path, typer.Argument(help="备份目录 / folder of the backups", metavar="DIR")],
    *,
    wal: Annotated[bool, typer.Option("--wal", help="持续接收 WAL，直到 SIGTERM / receive WAL until SIGTERM")] = False,
    only_files: Annotated[
        bool, typer.Option("--files", help="只复制公钥环与图片 / only the keyring and the pictures")
    ] = False,
    check_: Annotated[bool, typer.Option("--check", help="核对所有备份 / verify all backups")] = False,
    keep: Annotated[
        int, typer.Option(min=0, help="只保留最新的若干个备份；0 为全部保留 / keep this many backups; 0: all")
    ] = 0,
) -> None:
    """备份数据库、公钥环与图片；不含任何私钥。Back up the database, the keyring and the pictures. No private key."""
    if wal + only_files + check_ > 1:
        raise typer.BadParameter("只能选一项 / choose one", param_hint=_MODES)
    settings, folder = load(), BackupFolder(directory)
    with _private_files():
        if check_:
            _check(folder, settings)
        elif only_files:
            _copy_files(folder, settings)
        elif wal:
            _receive(folder, settings)
        else:
            _back_up(folder, settings, keep)


@app.command("restore-backup")
def restore_(
    directory: Annotated[Path, typer.Argument(help="备份目录 / folder of the backups", metavar="DIR")],
    *,
    to: Annotated[Path, typer.Option(help="恢复到此目录（新的 ZPCODE_HOME） / the new ZPCODE_HOME", metavar="HOME")],
    until: Annotated[
        str, typer.Option(help="恢复到此时刻，如 2026-11-29T15:04:05+08:00 / restore up to this time")
    ] = "",
    despite_gap: Annotated[
        bool, typer.Option("--despite-gap", help="WAL 有缺口时恢复到缺口为止 / restore up to a gap in the WAL")
    ] = False,
) -> None:
    """把备份恢复到新的目录；不启动任何服务，不覆盖任何文件。Restore a backup. Starts nothing, overwrites nothing."""
    moment, begin = _moment(until), time.monotonic()
    with _private_files():
        restored = restore.restore(BackupFolder(directory), to, moment, _announce, despite_gap=despite_gap)
    for line in _next_steps(restored, to.absolute(), time.monotonic() - begin):
        typer.echo(line)


# Backing up -----------------------------------------------------------------------------------------


def _back_up(folder: BackupFolder, settings: AuthoritySettings, keep: int) -> None:
    begin = time.monotonic()
    with _server(settings) as (engine, url):
        source = BackupSource(
            url,
            settings.home,
            not settings.backup_database_url,
            _originals(settings),
            _shown(settings),
            version("zpcode"),
        )
        made = make.back_up(engine, source, folder, _announce, datetime.now(UTC))
    typer.echo(f"备份完成 / complete: {made.path} ({time.monotonic() - begin:.0f} s)")
    typer.echo(_window(folder, made))
    if keep:
        programs = programs_for(made.manifest.postgres.major, settings.home, TO_BACK_UP)
        for outdated in prune.prune(folder, keep, programs):
            typer.echo(f"已删除旧备份 / removed: {outdated.path.name}")


def _window(folder: BackupFolder, made: Backup) -> str:
    """To which times a backup can be restored."""
    first, newest = to_second(made.manifest.ended), check.wal_of(folder, made).newest
    if newest is None:
        return (
            f"只能恢复到 {first}：没有 WAL 归档，请运行 zpcode backup --wal / it can be restored to {first} only, because "
            "no WAL is received: run zpcode backup --wal"
        )
    last = to_second(max(newest, made.manifest.ended))
    return f"可恢复到 {first} 至 {last} 的任意时刻 / it can be restored to any time from {first} to {last}"


def _copy_files(folder: BackupFolder, settings: AuthoritySettings) -> None:
    folder.prepare()
    with folder.locked():
        copied = files.copy_files(_originals(settings), folder)
    typer.echo(
        f"公钥环序号 / keyring serial: {copied.keyring.serial}; 新图片文件 / new pictures: {copied.new_pictures}"
    )


def _receive(folder: BackupFolder, settings: AuthoritySettings) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    with _server(settings) as (engine, url):
        try:
            archive.follow(engine, url, settings.home, folder, _announce, time.sleep)
        except KeyboardInterrupt:
            _announce(Text("已停止接收 WAL", "no more WAL is received"))


def _check(folder: BackupFolder, settings: AuthoritySettings) -> None:
    findings = Findings()
    with folder.reading():
        backups = folder.backups()
        for one in backups:
            programs = programs_for(one.manifest.postgres.major, settings.home, TO_BACK_UP)
            known = len(findings.items)
            check.check(folder, one, programs, findings)
            state = "完好 / whole" if len(findings.items) == known else "有问题 / not whole"
            typer.echo(f"{one.path.name}: {state}; {_window(folder, one)}")
        check.check_signatures(folder, findings)
    for finding in findings.items:
        typer.echo(finding_line(finding), err=True)
    if not backups:
        typer.echo(f"没有完整的备份 / no complete backup: {folder.path}", err=True)
    if findings.items or not backups:
        raise typer.Exit(1)


# Restoring ------------------------------------------------------------------------------------------


def _next_steps(restored: restore.Restored, home: Path, seconds: float) -> Iterator[str]:
    manifest = restored.backup.manifest
    yield f"已恢复 / restored: {restored.data} ({seconds:.0f} s)"
    yield f"  最后一次提交 / last commit: {to_second(restored.wal.last_commit or manifest.ended)}"
    yield f"  公钥环序号 / keyring serial: {restored.keyring.serial}; 图片文件 / picture files: {restored.pictures}"
    yield "尚未启动任何服务。下一步 / nothing was started. Next:"
    steps = ["放回签名密钥与口令（不在备份中） / put back the signing keys and passphrases: they are not in a backup"]
    if not manifest.embedded:
        steps.append(
            f"把 {restored.data} 设为 PostgreSQL {manifest.postgres.major} 的数据目录，再启动它 / make it the data "
            "directory of your PostgreSQL server, and start that server"
        )
    steps += [
        f"ZPCODE_HOME={home} zpcode audit verify --expect-head {manifest.audit_head} --expect-count {manifest.audit_count}",
        f"ZPCODE_HOME={home} zpcode recover：{_WHY.zh} / {_WHY.en}",
        *_signatures(restored, home),
        "换一个新的备份目录，重新备份 / back up again, into a new folder: this database has begun a new timeline",
    ]
    yield from (f"  {number}. {step}" for number, step in enumerate(steps, 1))


def _signatures(restored: restore.Restored, home: Path) -> Iterator[str]:
    if restored.signatures:
        folder = home / restore.SIGNATURES
        yield f"把 {folder} 中有而 ZPCODE_EXPORT_DIR 中没有的文件移入后者 / move to ZPCODE_EXPORT_DIR what it lacks of {folder}"


def _moment(value: str) -> datetime | None:
    """The time of `--until`; one without an offset is in Asia/Shanghai."""
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise typer.BadParameter("格式如 2026-11-29T15:04:05+08:00 / ISO 8601", param_hint="--until") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=SHANGHAI)


# Both -----------------------------------------------------------------------------------------------


@contextmanager
def _private_files() -> Iterator[None]:
    """Every new file, those of PostgreSQL's programs too, is for this user alone."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


@contextmanager
def _server(settings: AuthoritySettings) -> Iterator[tuple[Engine, str]]:
    """The server as the backup role: its engine and its URL."""
    url = settings.backup_database_url or Servers(settings.home).addresses.backup_database
    engine = connect(url, pool_size=1, read_only=True)
    try:
        yield engine, url
    finally:
        engine.dispose()


def _originals(settings: AuthoritySettings) -> files.Originals:
    return files.Originals(
        settings.keyring, settings.root_public, PictureStorage(settings.pictures_url), settings.export_dir
    )


def _shown(settings: AuthoritySettings) -> dict[str, str]:
    """The settings, without the passwords in URLs: to compare them after a restoration."""
    return {
        f"ZPCODE_{name.upper()}": _PASSWORD.sub(r"\1\2***", str(value)) for name, value in settings.model_dump().items()
    }


def _announce(text: Text) -> None:
    typer.echo(f"{text.zh} / {text.en}")
