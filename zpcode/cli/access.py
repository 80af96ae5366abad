"""`zpcode access create|list|revoke`: API keys for enterprises, regulators and operators."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from zpcode.cli.connections import database
from zpcode.cli.connections import operator as operator_caller
from zpcode.cli.output import to_minute
from zpcode.rules.access import OPERATOR_SUBJECT, ApiKey, Role
from zpcode.rules.paging import MAX_PAGE
from zpcode.services import access
from zpcode.settings import load

app = typer.Typer(add_completion=False, help="访问密钥 / API keys", no_args_is_help=True)


@app.command()
def create(
    *,
    enterprise: Annotated[str, typer.Option(metavar="USCC", help="企业的统一社会信用代码 / an enterprise")] = "",
    regulator: Annotated[str, typer.Option(metavar="REGION", help="监管区域 GB/T 2260，6 位 / a regulator")] = "",
    operator: Annotated[bool, typer.Option("--operator", help="平台运营方 / an operator")] = False,
    label: Annotated[str, typer.Option(help="由谁或什么系统使用 / who or what uses the key")],
) -> None:
    """创建访问密钥，只显示这一次。Create an API key. It is shown only now."""
    options = [
        (Role.ENTERPRISE, enterprise),
        (Role.REGULATOR, regulator),
        (Role.OPERATOR, OPERATOR_SUBJECT if operator else ""),
    ]
    chosen = [(role, subject) for role, subject in options if subject]
    if len(chosen) != 1:
        raise typer.BadParameter("--enterprise USCC, --regulator REGION 或 / or --operator")
    role, subject = chosen[0]
    with database(load()) as engine:
        created = access.create(engine, role, subject, label, caller=operator_caller(), now=datetime.now(UTC))
    typer.echo(created.token)
    typer.echo(f"只显示这一次，请妥善保存 / shown only now; keep it safe: {_line(created.key)}", err=True)


@app.command("list")
def list_() -> None:
    """列出全部密钥，含已撤销的。List all keys, including revoked keys."""
    after = ""
    with database(load()) as engine:
        while keys := access.listing(engine, operator_caller(), after, MAX_PAGE):
            for key in keys:
                typer.echo(_line(key))
            after = keys[-1].id


@app.command()
def revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="zpk_ID_… 中的 ID / the ID in it")]) -> None:
    """撤销一个密钥，立即生效。Revoke a key. It takes effect at once."""
    with database(load()) as engine:
        key = access.revoke(engine, key_id, caller=operator_caller(), now=datetime.now(UTC))
    typer.echo(_line(key))


def _line(key: ApiKey) -> str:
    """A key as one line, without its secret, which is not stored."""
    state = f"已撤销 revoked {to_minute(key.revoked_at)}" if key.revoked_at else "有效 valid"
    used = f"最近使用 last used {to_minute(key.last_used_at)}" if key.last_used_at else "未使用 never used"
    return "  ".join(filter(None, (key.id, key.role, key.subject, state, used, key.label)))
