"""`zpcode inspect CODE` explains and verifies a code, `zpcode qr CODE` draws it. Both work offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from keys.files import read_public
from keys.keyring import Keyring, SealVerdict, read_root
from zpcode.errors import Finding, KeyringError, MalformedCode, Refused, Text
from zpcode.exports import qr
from zpcode.settings import load
from zpcode.wire.link import is_base, parse, path_of
from zpcode.wire.payload import Code, Level

app = typer.Typer(add_completion=False)

VALID: Final = 0
SEAL_INVALID: Final = 1
MALFORMED: Final = 2  # also the exit status for a wrong option
KEY_REVOKED: Final = 3
NOT_OFFLINE: Final = 4

_KINDS: Final = {
    Level.PRODUCT: ("品类码", "product code"),
    Level.LOT: ("批次码", "lot code"),
    Level.ITEM: ("单品码", "item code"),
    Level.COMPACT: ("单品短码", "compact item code"),
}
_SEALS: Final = {
    SealVerdict.VALID: (
        VALID,
        "签章有效：由公钥环中的密钥签发",
        "the seal is valid: a key of the keyring issued this code",
    ),
    SealVerdict.INVALID: (
        SEAL_INVALID,
        "签章无效：此码不是本平台签发的",
        "the seal is invalid: this code was not issued here",
    ),
    SealVerdict.REVOKED: (KEY_REVOKED, "签章有效，但签发密钥已撤销", "the seal is valid, but its key has been revoked"),
}

CodeArgument = Annotated[str, typer.Argument(help="码或其网址 / a code or its address", metavar="CODE")]


@app.command("inspect")
def inspect(
    code: CodeArgument,
    *,
    keyring: Annotated[Path | None, typer.Option(help="公钥环文件 / keyring (ZPCODE_KEYRING)")] = None,
    root: Annotated[Path | None, typer.Option(help="根公钥 PEM / root public key (ZPCODE_ROOT_PUBLIC)")] = None,
) -> None:
    """逐段说明一个码并离线验证。Explain a code part by part, and verify it offline.

    Exit status: 0 seal valid, 1 seal invalid, 2 not a code, 3 key revoked, 4 cannot be verified offline.
    """
    try:
        parsed = parse(path_of(code))
    except MalformedCode as refusal:
        _end(MALFORMED, f"不是有效的码：{refusal.text.zh}", f"not a code: {refusal.text.en}")
    for zh, en, value in parts(parsed):
        typer.echo(f"{zh} / {en}: {value}")
    if parsed.seal is None:
        _end(NOT_OFFLINE, *_unsealed(parsed))
    settings = load()
    try:
        ring = _keyring(keyring or settings.keyring, root or settings.root_public)
    except KeyringError as refusal:
        _end(NOT_OFFLINE, f"未能验证：{refusal.text.zh}", f"not verified: {refusal.text.en}")
    _end(*_SEALS[ring.verify(parsed)])


@app.command("qr")
def draw(
    code: CodeArgument,
    *,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="输出 .svg 或 .png / file to write")] = None,
) -> None:
    """生成二维码；未指定文件名时显示在终端。Draw the QR code into a file, or on the terminal."""
    drawn = qr.symbol(_base(code), parse(path_of(code)))
    if output is None:
        typer.echo(qr.text(drawn), nl=False)
        return
    kinds = {".svg": qr.svg, ".png": qr.png}
    if output.suffix.lower() not in kinds:
        text = Text("文件名须以 .svg 或 .png 结尾", "the file name must end in .svg or .png")
        raise Refused(text, (Finding("output", text, value=str(output)),))
    output.write_bytes(kinds[output.suffix.lower()](drawn))
    typer.echo(f"{output}: {drawn.designator}, {drawn.symbol_size()[0] - 8} × {drawn.symbol_size()[0] - 8}")


def parts(code: Code) -> list[tuple[str, str, str]]:
    """The parts of a code: Chinese name, English name, value."""
    identity, seal, serial = code.identity, code.seal, code.identity.serial
    kind = _KINDS[identity.level]
    rows = [("种类", "kind", f"{kind[0]} / {kind[1]}")]
    if seal is not None:
        rows += [("密钥编号", "key id", seal.key_id), ("签名 r‖s", "signature r‖s", seal.signature.hex())]
    rows.append(("商品条码", "GTIN (AI 01)", identity.gtin))
    if identity.lot is not None:
        rows.append(("批号", "lot (AI 10)", identity.lot))
    if serial is not None:
        rows += [
            ("序列号", "serial (AI 21)", serial.text),
            ("批次序号", "batch number", str(serial.batch)),
            ("位次（经置换）", "slot (permuted)", str(serial.slot)),
        ]
    if identity.check is not None:
        rows.append(("校验段", "check (40 bits)", f"{identity.check:010x}"))
    return [*rows, ("规范路径", "canonical path", code.path)]


def _unsealed(code: Code) -> tuple[str, str]:
    if code.identity.check is not None:
        return "短码只能联网验证", "a compact code can only be verified online"
    return "此码没有签章，无法离线验证", "this code has no seal: it cannot be verified offline"


def _keyring(path: Path, root: Path) -> Keyring:
    return Keyring.load(read_public(path), read_root(root))


def _base(text: str) -> str:
    """The base address in front of the code, else the one of the settings."""
    scheme, separator, rest = text.strip().partition("://")
    base = f"{scheme}://{rest.partition('/')[0]}".lower() if separator else load().public_base
    if not is_base(base):
        reason = Text(f"网址 {base[:80]!r} 无效", f"{base[:80]!r} is not a base address")
        raise Refused(reason, (Finding("base", reason),))
    return base


def _end(status: int, zh: str, en: str) -> NoReturn:
    typer.echo(f"{zh}\n{en}", err=status != VALID)
    raise typer.Exit(status)
