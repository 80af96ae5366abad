"""The output of `make demo`: Chinese first, then English, and one code to scan."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zpcode.errors import DatabaseBehind
from zpcode.exports import qr
from zpcode.wire.link import parse, path_of

_NAMES = {
    "product": ("品类码", "product code"),
    "lot": ("批次码", "lot code"),
    "item": ("单品码", "item code"),
    "compact": ("短码  ", "compact item code"),
}
_FOR_A_PHONE = (
    "  如需手机扫码，请执行 make demo HOST=本机局域网地址 / for a phone: make demo HOST=<this machine's address>"
)


@dataclass(frozen=True, slots=True)
class DemoCode:
    """One code of the demo: its level, its link with the base address of this run, and its product's name."""

    level: str
    link: str
    product: str


@dataclass(frozen=True, slots=True)
class Credential:
    """One API key of the demo, and its owner in both languages."""

    zh: str
    en: str
    token: str


def step(zh: str, en: str) -> None:
    """Print one line of progress."""
    print(f"· {zh} / {en}", flush=True)


def moved_ports(*pairs: int) -> None:
    """Print each wanted port that was in use and the port used instead: (wanted, got, wanted, got, …)."""
    for wanted, got in zip(pairs[::2], pairs[1::2], strict=True):
        if wanted != got:
            step(f"端口 {wanted} 被占用，改用 {got}", f"port {wanted} is in use, using {got} instead")


def terminal_qr(base: str, link: str) -> str:
    """The QR code of a link, drawn with half blocks."""
    return qr.text(qr.symbol(base, parse(path_of(link))))


def ready(
    base: str,
    api: str,
    codes: Sequence[DemoCode],
    credentials: Sequence[Credential],
    home: Path,
    metrics: Mapping[str, str],
) -> None:
    """Print all codes, addresses and API keys. `metrics` has the address of the metrics of each process, by its name."""
    item = next((code for code in codes if code.level == "item"), codes[0])
    lines = ["", terminal_qr(base, item.link), f"  用手机扫码 / scan with a phone: {item.product}", ""]
    lines += [_code_line(code) for code in codes]
    lines += ["", *_addresses(base, api)]
    lines += [f"  {credential.zh} / {credential.en}\n    {credential.token}" for credential in credentials]
    lines += [
        "",
        f"  试一试 / try:  curl -H 'Authorization: Bearer {credentials[0].token}' {api}/v1/batches",
        *_places(home, metrics),
    ]
    if "127.0.0.1" in base:
        lines.append(_FOR_A_PHONE)
    print("\n".join([*lines, ""]), flush=True)


def behind(base: str, api: str, error: DatabaseBehind, home: Path, metrics: Mapping[str, str]) -> None:
    """Print that the database is behind, what to do, and all addresses."""
    lines = [
        "",
        f"  {error.text.zh}",
        f"  {error.text.en}",
        "",
        "  在另一个终端执行（docs/recovery.md），然后按 Ctrl-C 并重新启动 demo",
        "  In another terminal run this (docs/recovery.md); then press Ctrl-C and start the demo again:",
        f"    export ZPCODE_HOME={shlex.quote(str(home))}",
        "    zpcode recover",
        "  核对后执行其最后一行给出的命令 / read it, then run the command in its last line",
        "",
        *_addresses(base, api),
        *_places(home, metrics),
    ]
    print("\n".join([*lines, ""]), flush=True)


def _addresses(base: str, api: str) -> Iterable[str]:
    yield f"  扫码服务 / scan service   {base}/"
    yield f"  接口 / API                {api}/openapi.json"


def _places(home: Path, metrics: Mapping[str, str]) -> Iterable[str]:
    yield f"  数据与日志 / data and logs  {home}"
    yield "  指标 / metrics"
    yield from (f"    {name:<10} http://{address}/metrics" for name, address in metrics.items())
    yield "  按 Ctrl-C 停止 / Ctrl-C stops everything"


def _code_line(code: DemoCode) -> str:
    zh, en = _NAMES[code.level]
    return f"  {zh} {en}\n    {code.link}"
