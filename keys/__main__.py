"""`zpkeys`: the ceremonies that change signing keys, and the signer itself.

It prints every text in Chinese and English. Exit status: 0 done, 1 refused (with the reason), 2 wrong usage.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from keys import ceremony, passphrases, server, settings
from keys.ceremony import KeyRoom
from keys.document import ArchiveStatement, statement_of
from keys.files import read_public
from keys.keyring import Key, KeyPurpose, fingerprint, read_root
from keys.log.ceiling import permitted
from keys.log.reader import LogReading, chunks_of
from zpcode.errors import KeyringError, Text, ZpError
from zpcode.telemetry import logs

app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False
)

KeysDir = Annotated[Path | None, Option("--keys-dir", help="私钥文件夹 / folder of the private keys (ZPCODE_KEYS_DIR)")]
Ring = Annotated[Path | None, Option("--keyring", help="公钥环文件 / the keyring file (ZPCODE_KEYRING)")]
RootKey = Annotated[Path | None, Option("--root-key", help="根私钥文件 / the root key file (ZPCODE_ROOT_KEY)")]
RootPublic = Annotated[
    Path | None, Option("--root-public", help="根公钥文件 / the root public key file (ZPCODE_ROOT_PUBLIC)")
]
KeyPassphrase = Annotated[
    Path | None,
    Option(
        "--passphrase-file",
        help="签名密钥口令文件 / file with the signing keys' passphrase (ZPCODE_KEY_PASSPHRASE_FILE)",
    ),
]
RootPassphrase = Annotated[
    Path | None,
    Option(
        "--root-passphrase-file",
        help="根密钥口令文件 / file with the root key's passphrase (ZPCODE_ROOT_PASSPHRASE_FILE)",
    ),
]
Days = Annotated[int, Option("--validity-days", min=2, max=3660, help="可签名的天数 / number of days the key may sign")]
Yes = Annotated[bool, Option("--yes", help="不再询问 / do not ask for confirmation")]
Purpose = Annotated[
    KeyPurpose,
    Option("--purpose", help="用途：签发码，或会签审计日志 / what it signs: codes, or heads of the audit log"),
]
Archived = Annotated[
    str,
    Option(
        "--archived",
        help="平台的归档声明；none 表示不归档 / the authority's statement (zpcode batches archive --key KEY_ID --statement FILE); "
        "none: nothing is archived",
    ),
]
KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", help="密钥编号 / key id")]

_SIGNING = Text("签名密钥", "signing key")
_ROOT = Text("根密钥", "root key")


def _say(zh: str, en: str) -> None:
    typer.echo(f"{zh}\n{en}")


def _confirm(yes: bool, zh: str, en: str) -> None:
    if not yes:
        typer.confirm(f"{zh}\n{en}", abort=True)


def _room(keys_dir: Path | None, keyring: Path | None, root_key: Path | None, root_public: Path | None) -> KeyRoom:
    defaults = settings.load()
    return KeyRoom(
        keys_dir or defaults.keys_dir,
        keyring or defaults.keyring,
        root_key or defaults.root_key,
        root_public or defaults.root_public,
    )


def _key_passphrase(path: Path | None, *, twice: bool = False) -> bytes:
    path = path or settings.load().key_passphrase_file
    return passphrases.obtain(path, _SIGNING, "ZPCODE_KEY_PASSPHRASE_FILE", twice=twice)


def _root_passphrase(path: Path | None, *, twice: bool = False) -> bytes:
    path = path or settings.load().root_passphrase_file
    return passphrases.obtain(path, _ROOT, "ZPCODE_ROOT_PASSPHRASE_FILE", twice=twice)


def _arguments(key: Path | None, root: Path | None, days: int) -> dict[str, Any]:
    return {
        "passphrase": _key_passphrase(key, twice=True),
        "root_passphrase": _root_passphrase(root),
        "now": datetime.now(UTC),
        "validity": timedelta(days=days),
    }


@app.command()
def init(root_key: RootKey = None, root_public: RootPublic = None, root_passphrase_file: RootPassphrase = None) -> None:
    """生成根密钥（仅一次） / make the root key. Done once."""
    room = _room(None, None, root_key, root_public)
    root = ceremony.create_root(room, root_passphrase=_root_passphrase(root_passphrase_file, twice=True))
    _say(
        f"根密钥 {root} 已生成。请把 {room.root_key} 移到离线介质保存；{room.root_public} 交给每个验证方。",
        f"Root key {root} is made. Keep {room.root_key} offline; give {room.root_public} to every verifier.",
    )


@app.command()
def create(
    keys_dir: KeysDir = None,
    keyring: Ring = None,
    root_key: RootKey = None,
    root_public: RootPublic = None,
    passphrase_file: KeyPassphrase = None,
    root_passphrase_file: RootPassphrase = None,
    validity_days: Days = 365,
    purpose: Purpose = KeyPurpose.CODES,
) -> None:
    """生成某一用途的第一把签名密钥 / make the first signing key of a purpose."""
    room = _room(keys_dir, keyring, root_key, root_public)
    arguments = _arguments(passphrase_file, root_passphrase_file, validity_days)
    key_id = ceremony.create_key(room, purpose=purpose, **arguments)
    _say(f"签名密钥 {key_id} 已启用，公钥环已发布。", f"Signing key {key_id} is active, the keyring is published.")


@app.command()
def rotate(  # noqa: PLR0913, PLR0917 - each argument is an option of the command
    keys_dir: KeysDir = None,
    keyring: Ring = None,
    root_key: RootKey = None,
    root_public: RootPublic = None,
    passphrase_file: KeyPassphrase = None,
    root_passphrase_file: RootPassphrase = None,
    validity_days: Days = 365,
    purpose: Purpose = KeyPurpose.CODES,
    yes: Yes = False,
) -> None:
    """更换签名密钥，旧密钥只完成已开始的批次 / make a new signing key; the old key only finishes its batches."""
    _confirm(yes, "更换签名密钥？", "Rotate the signing key?")
    room = _room(keys_dir, keyring, root_key, root_public)
    arguments = _arguments(passphrase_file, root_passphrase_file, validity_days)
    key_id = ceremony.rotate(room, purpose=purpose, **arguments)
    if purpose is not KeyPurpose.CODES:
        _say(f"现在由 {key_id} 会签。", f"{key_id} countersigns from now on.")
        return
    _say(
        f"新批次使用 {key_id}；旧密钥只完成已开始的批次，完成后请执行 zpkeys retire。",
        f"New batches use {key_id}. The old key finishes the batches it started; after that, run: zpkeys retire.",
    )


@app.command()
def retire(
    key_id: KeyId,
    keys_dir: KeysDir = None,
    keyring: Ring = None,
    root_key: RootKey = None,
    root_public: RootPublic = None,
    root_passphrase_file: RootPassphrase = None,
    archived: Archived = "",
    yes: Yes = False,
) -> None:
    """停用密钥，已签发的码仍然有效 / let a key sign no more; what it has signed stays valid."""
    _confirm(
        yes,
        f"停用 {key_id}？其未完成的批次将改用启用中的密钥，从头重新签发。",
        f"Retire {key_id}? An unfinished batch of this key is signed again from its first code with the active key.",
    )
    room = _room(keys_dir, keyring, root_key, root_public)
    statement = _statement(room, key_id, archived)
    passphrase = _root_passphrase(root_passphrase_file)
    ceremony.retire(room, key_id, statement=statement, root_passphrase=passphrase, now=datetime.now(UTC))
    _say(f"密钥 {key_id} 已停用。", f"Key {key_id} is retired.")


def _statement(room: KeyRoom, key_id: str, archived: str) -> ArchiveStatement | None:
    """The statement in a file; None if the key signs no codes, or a person has said that nothing is archived."""
    if archived not in {"", "none"}:
        return statement_of(read_public(Path(archived)))
    ring = ceremony.current(room)
    key = None if ring is None else ring.get(key_id)
    if archived or (key is not None and not key.signs(KeyPurpose.CODES)):
        return None
    raise KeyringError(
        Text(
            f"停用后，{key_id} 的码文件无法重新生成：请先在平台执行 zpcode batches archive --key {key_id} --statement FILE，"
            "再以 --archived FILE 停用；确认不需要时用 --archived none",
            f"after this, nothing can sign the code files of {key_id} again: first run on the authority zpcode batches archive "
            f"--key {key_id} --statement FILE, then retire with --archived FILE, or with --archived none if nobody needs them",
        )
    )


@app.command()
def revoke(
    key_id: KeyId,
    reason: Annotated[str, Option("--reason", help="公开的原因 / the reason, which is published")],
    keys_dir: KeysDir = None,
    keyring: Ring = None,
    root_key: RootKey = None,
    root_public: RootPublic = None,
    root_passphrase_file: RootPassphrase = None,
    yes: Yes = False,
) -> None:
    """撤销密钥，由其签发的码立即不再可信 / revoke a key: no code signed with it is trusted any more."""
    _confirm(
        yes,
        f"撤销 {key_id}？由其签发的码都将显示“此码已失效”，且不能恢复。",
        f"Revoke {key_id}? Every code signed with it will be shown as no longer valid. This cannot be undone.",
    )
    room = _room(keys_dir, keyring, root_key, root_public)
    passphrase = _root_passphrase(root_passphrase_file)
    ceremony.revoke(room, key_id, reason=reason, root_passphrase=passphrase, now=datetime.now(UTC))
    _say(f"密钥 {key_id} 已撤销。", f"Key {key_id} is revoked.")


@app.command()
def publish(
    document: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="新公钥环 / the new keyring")],
    keys_dir: KeysDir = None,
    keyring: Ring = None,
    root_public: RootPublic = None,
) -> None:
    """启用在离线机上签好的公钥环 / install a keyring that was signed on an offline machine."""
    published = ceremony.publish(_room(keys_dir, keyring, None, root_public), read_public(document))
    _say(f"公钥环已启用，序号 {published.serial}。", f"The keyring is installed, serial {published.serial}.")


def _row(key: Key) -> dict[str, str]:
    record = key.record
    return {
        "id": key.id,
        "suite": record.suite,
        "purpose": record.purpose,
        "state": str(key.state),
        "not_before": record.not_before.isoformat(),
        "not_after": record.not_after.isoformat(),
        "reason": record.reason or "",
    }


@app.command("list")
def list_keys(
    keys_dir: KeysDir = None,
    keyring: Ring = None,
    root_public: RootPublic = None,
    as_json: Annotated[bool, Option("--json", help="JSON")] = False,
) -> None:
    """列出公钥环里的密钥 / list the keys in the keyring."""
    ring = ceremony.current(_room(keys_dir, keyring, None, root_public))
    rows = [_row(key) for key in ring or ()]
    if as_json:
        typer.echo(json.dumps({"serial": ring.serial if ring else 0, "keys": rows}, ensure_ascii=False))
        return
    if not ring:
        _say("还没有公钥环，请执行 zpkeys create。", "There is no keyring yet; run: zpkeys create.")
        return
    _say(f"公钥环序号 {ring.serial}", f"Keyring serial {ring.serial}")
    for row in rows:
        typer.echo(
            f"{row['id']}  {row['purpose']:<10} {row['state']:<9} {row['not_before'][:10]} … {row['not_after'][:10]}  {row['reason']}"
        )


@app.command("fingerprint")
def root_fingerprint(root_public: RootPublic = None) -> None:
    """根公钥的指纹，供公布和核对 / print the root key's fingerprint, to publish and to compare."""
    typer.echo(fingerprint(read_root(_room(None, None, None, root_public).root_public)))


@app.command("verify-log")
def verify_log(
    logs_: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="日志文件，由旧到新 / log files, oldest first (ZPCODE_SIGNER_LOG)"),
    ] = None,
) -> None:
    """检查签名日志的哈希链 / check the hash chain of the signing log."""
    files = logs_ or [settings.load().signer_log]
    checked = LogReading(chunks_of(files)).check()
    tail, fault = checked.tail, checked.fault
    if fault is not None:
        zh, en = (
            f"第 {fault.line} 行不符（{fault.kind}），此前 {fault.line - 1} 行完整",
            f"line {fault.line} is wrong ({fault.kind}); {fault.line - 1} lines before it are whole",
        )
        raise KeyringError(Text(f"签名日志：{zh}", f"the signing log: {en}"))
    head = "-" if tail.head is None else f"{tail.head.id} {tail.head.hash.hex()}"
    torn = f"（其中 {checked.torn} 行因断电残缺）", f" ({checked.torn} of them torn by a power failure)"
    zh, en = torn if checked.torn else ("", "")
    _say(
        f"签名日志完整：{checked.lines} 行{zh}；最大批次序号 {tail.batch}；最新会签的审计链头 {head}。",
        f"The signing log is whole: {checked.lines} lines{en}; highest batch {tail.batch}; newest countersigned audit head {head}.",
    )


@app.command()
def serve(
    keys_dir: KeysDir = None,
    keyring: Ring = None,
    root_public: RootPublic = None,
    passphrase_file: KeyPassphrase = None,
    socket: Annotated[Path | None, Option("--socket", help="套接字 / unix socket (ZPCODE_SIGNER_SOCKET)")] = None,
    processes: Annotated[
        int | None, Option("--processes", min=0, max=256, help="进程数 / number of processes; 0: one for each core")
    ] = None,
) -> None:
    """运行签名服务 / run the signer."""
    defaults = settings.load()
    logs.configure("signer", level=defaults.log_level)
    room = _room(keys_dir, keyring, None, root_public)
    server.run(
        server.Service(
            keyring=room.keyring,
            root_public=room.root_public,
            keys_dir=room.keys_dir,
            log=defaults.signer_log,
            socket=socket or defaults.signer_socket,
            passphrase=_key_passphrase(passphrase_file),
            processes=defaults.signer_processes if processes is None else processes,
            allowed_uids=frozenset(defaults.signer_allowed_uids),
            highest_batch=permitted(defaults.signer_highest_batch),
            highest_audit_entry=permitted(defaults.signer_highest_audit_entry),
        )
    )


def main() -> None:
    """Run `zpkeys`. A refusal is printed in both languages; exit status 1."""
    try:
        app()
    except ZpError as error:
        typer.echo(f"{error.text.zh}\n{error.text.en}", err=True)
        sys.exit(1)
    except ValueError as error:  # a wrong setting
        typer.echo(f"无法执行，请检查设置 / check the settings: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
