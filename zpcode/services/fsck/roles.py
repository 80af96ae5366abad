"""Check that the roles, grants and triggers of the database are as deploy/postgres-roles.sql and `zpcode migrate` make them."""

from __future__ import annotations

from typing import Final

from zpcode.errors import Text
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import CheckResult, Invariant
from zpcode.store.database import privileges, role_check
from zpcode.store.monitoring import integrity

ROLES: Final = Invariant(
    "roles",
    Text(
        "数据库角色、权限与触发器都与 deploy/postgres-roles.sql 一致，应用角色不拥有任何对象",
        "the roles, grants and triggers of the database are as deploy/postgres-roles.sql has them, and the application owns nothing",
    ),
    Text(
        "zpcode migrate 会重新授予应用角色的权限；其余由超级用户按 deploy/postgres-roles.sql 更正，并查明是谁改的",
        "zpcode migrate grants the application's privileges again; a superuser corrects the rest as in deploy/postgres-roles.sql;"
        " find out who changed it",
    ),
)
_REASONS: Final = {
    "owner": ("属于不应拥有它的角色", "belongs to a role that must not own it"),
    "granted": ("多出的权限", "has privileges that it must not have"),
    "not-granted": ("缺少权限", "lacks privileges"),
    "attribute": ("角色的属性过大", "has attributes that it must not have"),
    "creates": ("可以在数据库中建立对象", "may create objects in the database"),
    "member": ("属于别的角色", "is a member of other roles"),
    "locks": ("可以占用咨询锁，从而阻止一切决定", "may take advisory locks, and can thereby stop every decision"),
    "bounds": ("缺少扫码角色的限制", "lacks the bounds of a scan role"),
    "trigger": ("保护该表的触发器没有启用", "the trigger that protects the table is not enabled"),
    "definer": ("以所有者的权限执行的函数", "a function that acts with the rights of its owner"),
}


def roles(context: CheckContext, outcome: CheckResult) -> None:
    """Compare the catalogue with what it has to be."""
    outcome.examined = len(privileges.TABLES) + len(privileges.FUNCTIONS) + len(privileges.TRIGGERS)
    with integrity.snapshot(context.engine) as connection:
        for one in role_check.deviations(connection):
            zh, en = _REASONS[one.reason]
            outcome.find(one.reason, zh, en, where=one.where, value=one.value)
