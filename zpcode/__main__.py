"""`zpcode`, also `python -m zpcode`: all commands, and how an error is printed."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from zpcode import worker
from zpcode.cli import (
    access,
    audit,
    backup,
    batches,
    codes,
    complaints,
    fsck,
    journey,
    pictures,
    recover,
    registry,
    scans,
    status,
)
from zpcode.cli.connections import database, owner_database, project
from zpcode.cli.output import withheld_lines
from zpcode.demo import run
from zpcode.errors import Finding, ZpError
from zpcode.services import notices
from zpcode.services.batches import file_keys
from zpcode.services.batches.reserve import anything_reserved
from zpcode.services.registry.product_cards import rebuild_cards
from zpcode.settings import load
from zpcode.store import locks
from zpcode.store.database.session import Engine, migrate, transaction
from zpcode.telemetry import logs

app = typer.Typer(
    rich_markup_mode=None,  # boxes cut a Chinese text that is longer than its column: it has no blanks to wrap at
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="浙品码 / signed product codes: registry, batches, decisions, audit.",
)
for commands in (registry.app, batches.commands, codes.app, status.app, fsck.app, backup.app, recover.app):
    app.add_typer(commands)
app.add_typer(batches.app, name="batches")
app.add_typer(journey.app, name="journey", help="产品历程 / journeys of goods")
app.add_typer(complaints.app, name="complaints", help="投诉 / complaints")
app.add_typer(audit.app, name="audit", help="审计日志 / the audit log")
app.add_typer(pictures.app, name="pictures")
app.add_typer(scans.app, name="scans")
app.add_typer(access.app, name="access", help="访问密钥 / API keys")


@app.command("migrate")
def migrate_() -> None:
    """建立或升级数据库结构。Create the database schema or upgrade it. Running it again changes nothing."""
    settings = load()
    with owner_database(settings) as engine:
        migrate(engine, application_role=settings.application_role, scan_role=settings.scan_role or None)
        _warn_of_open_locks(engine, settings.scan_role)
    with database(settings) as engine:
        notices.begin(engine)
        _first_file_key(engine, settings.file_key)
    typer.echo("数据库已是最新 / the database is up to date")


def _warn_of_open_locks(engine: Engine, role: str) -> None:
    """Say what a superuser has to do if the role of the scan service can stop the authority."""
    with transaction(engine) as connection:
        if not locks.open_to(connection, role):
            return
    typer.echo(
        f"警告：角色 {role} 可以占用咨询锁，从而阻止一切决定。请由超级用户执行 deploy/postgres-roles.sql 中 \\connect 之后的部分\n"
        f"Warning: the role {role} may take advisory locks, and can thereby stop every decision. As a superuser, run the part of "
        "deploy/postgres-roles.sql that follows \\connect",
        err=True,
    )


def _first_file_key(engine: Engine, path: Path) -> None:
    """Make the key of the code files in a new installation. Later it may only be lost, or missing on this host."""
    if path.exists():
        return
    if anything_reserved(engine):
        typer.echo(
            f"缺少码文件的加密密钥 {path}：请从其他主机或备份复制；若已遗失，请执行 zpcode batches encrypt --new-key\n"
            f"The key of the code files is missing: {path}. Copy it from another host or a backup; if it is lost, run: "
            "zpcode batches encrypt --new-key",
            err=True,
        )
        return
    file_keys.create(path)
    typer.echo(f"已生成码文件的加密密钥，请备份 / the key of the code files was made; back it up: {path}")


@app.command("rebuild")
def rebuild() -> None:
    """重写全部产品卡片并同步到缓存。Derive all product cards again, write those that differ, and update Redis."""
    settings = load()
    with database(settings) as engine:
        changes = rebuild_cards(engine, now=datetime.now(UTC))
        project(engine, settings)
    typer.echo(f"更新的产品卡片 / product cards written: {len(changes.written)}")
    for line in withheld_lines(changes.withheld):
        typer.echo(line, err=True)


@app.command("worker")
def worker_() -> None:
    """运行后台进程：生成批次、同步缓存、收取扫码记录。Run the worker until SIGTERM."""
    worker.main(load())


@app.command("demo")
def demo(
    *,
    host: Annotated[str, typer.Option(help="监听地址 / address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="扫码服务端口 / port of the scan service")] = 8701,
    api_port: Annotated[int, typer.Option(min=1, max=65535, help="接口端口 / port of the API")] = 8700,
    home: Annotated[Path | None, typer.Option(help="数据目录 / directory of all state (ZPCODE_HOME)")] = None,
    once: Annotated[bool, typer.Option("--once", help="就绪后即停止 / stop as soon as everything is ready")] = False,
) -> None:
    """在本机启动全部服务与示例数据。Start all services on this machine with sample data, and print codes to scan."""
    raise typer.Exit(run.run(home or load().home, host, port, api_port, once=once))


def _line(finding: Finding) -> str:
    """A finding as one line; of one without a place, the text alone."""
    where = f"{finding.where} " if finding.where else ""
    value = "" if finding.value is None else f"[{finding.value}] "
    return f"- {where}{value}{finding.text.zh} / {finding.text.en}"


def main() -> None:
    """Run a command. An error of a rule, a server or a file is printed in both languages; exit status 1."""
    logs.for_a_terminal()
    try:
        app()
    except ZpError as error:
        findings = [finding for finding in error.findings if finding.text != error.text]
        lines = [error.text.zh, error.text.en, *map(_line, findings)]
        print("\n".join(lines), file=sys.stderr)
        sys.exit(1)
    except (OSError, ValueError) as error:  # a wrong setting, path or address
        print(f"无法执行，请检查设置与路径 / check the settings and paths: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
