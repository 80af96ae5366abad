"""The WAL archive: `pg_receivewal` writes the server's WAL to the folder of backups while the server runs.

Each timeline has a folder. A slot on the server keeps the WAL that the archive has not received yet. If the slot is lost,
the archive has a gap: what it had is put aside, and only a new backup can be restored to a time after the gap.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from zpcode.embedded.processes import ended_with_parent
from zpcode.errors import Refused, Text, Unavailable
from zpcode.rules import backups as rules
from zpcode.services.backups.folder import BackupFolder
from zpcode.services.backups.make import Announce
from zpcode.services.backups.programs import TO_BACK_UP, PostgresPrograms, connection, programs_for
from zpcode.store import backups as store
from zpcode.store.backups import SLOT, DatabaseServer
from zpcode.store.database.session import Engine, transaction

RETRY_SECONDS: Final = 5.0


def follow(
    engine: Engine, url: str, home: Path, folder: BackupFolder, announce: Announce, wait: Callable[[float], object]
) -> None:
    """Receive WAL for ever; `wait` waits before a new attempt. Raises Refused or Unavailable if a program is missing.

    A server that does not answer is asked again every five seconds. KeyboardInterrupt ends it after the last WAL is on disk.
    """
    folder.prepare()
    while True:
        try:
            programs, target = _prepare(engine, url, home, folder, announce)
            announce(Text(f"正在接收 WAL：{target}", f"receiving WAL into {target}"))
            _receive(programs, url, target)
        except Unavailable as unavailable:
            announce(unavailable.text)
        wait(RETRY_SECONDS)


def _prepare(
    engine: Engine, url: str, home: Path, folder: BackupFolder, announce: Announce
) -> tuple[PostgresPrograms, Path]:
    """The programs, and the folder of the server's timeline, after which the slot has the next WAL."""
    with transaction(engine) as connection:
        server, slot = store.server(connection), store.slot(connection, SLOT)
    if server.replica:
        raise Refused(Text("这是只读副本；请从主库接收 WAL", "this server is a replica; receive from the primary"))
    programs = programs_for(server.major, home, TO_BACK_UP)
    if slot is not None and slot.kept_from is None:
        programs.run("pg_receivewal", "--drop-slot", "-S", SLOT, url=url)
        slot = None
    if slot is None:
        programs.run("pg_receivewal", "--create-slot", "-S", SLOT, url=url)
    target = folder.wal / str(server.timeline)
    if slot is None or _is_gap(target, server, str(slot.kept_from)):
        _put_aside(target, announce)
    if not target.exists():
        _announce_timeline(target, announce)
    target.mkdir(mode=0o700, exist_ok=True)
    return programs, target


def _announce_timeline(target: Path, announce: Announce) -> None:
    """A folder of another timeline: the database was restored, or a replica became the primary."""
    if all(path.name.partition(".")[0] == target.name for path in target.parent.iterdir()):
        return
    announce(
        Text(
            "数据库开始了新的时间线（恢复或主备切换之后）；请立即执行 zpcode backup，此前的备份无法恢复到现在",
            "the database has begun a new timeline, as after a failover; run zpcode backup at once: earlier backups cannot be "
            "restored to a time from now on",
        )
    )


def _is_gap(target: Path, server: DatabaseServer, kept_from: str) -> bool:
    """Whether the slot begins after the segment that the archive needs next."""
    names = [path.name for path in target.iterdir()] if target.is_dir() else []
    segments = rules.numbered(names, server.timeline, server.segment_bytes)
    if not segments:
        return False
    last = max(segments)
    needed = last if segments[last].endswith(rules.PARTIAL) else last + 1
    return rules.segment_at(kept_from, server.segment_bytes) > needed


def _put_aside(target: Path, announce: Announce) -> None:
    """A slot that is new kept nothing of what came after the archive's last segment, or belongs to another history."""
    if not target.is_dir() or not any(target.iterdir()):
        return
    number = sum(1 for _ in target.parent.glob(f"{target.name}.*")) + 1
    aside = target.rename(target.with_name(f"{target.name}.{number}"))
    announce(
        Text(
            f"WAL 归档有缺口：服务器没有保存归档停止后的 WAL；已有部分移至 {aside}。"
            "请立即执行 zpcode backup，否则缺口之后的一切都无法恢复",
            f"the WAL archive has a gap: the server has not kept the WAL since the archive stopped. What there was is now in "
            f"{aside}. Run zpcode backup at once: without it nothing after the gap can be restored",
        )
    )


def _receive(programs: PostgresPrograms, url: str, target: Path) -> None:
    """Run `pg_receivewal` until it ends. What it writes is on disk at once (`--synchronous`). Raises Unavailable if it fails."""
    address, environment = connection(url)
    command: list[str | Path] = [
        programs.path("pg_receivewal"),
        *address,
        "-D",
        target,
        "-S",
        SLOT,
        "--synchronous",
        "--no-loop",
    ]
    child = subprocess.Popen(
        command,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: ended_with_parent(signal.SIGINT),  # noqa: PLW1509 - before any thread is started
    )
    try:
        said = child.communicate()[1].strip()
    except BaseException:
        child.send_signal(signal.SIGINT)
        child.communicate()
        raise
    raise Unavailable(
        Text(f"WAL 接收中断，稍后重试：{said[-500:]}", f"receiving WAL has stopped and will start again: {said[-500:]}")
    )
