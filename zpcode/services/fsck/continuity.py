"""Compare the database with what others have from it: the first check, because every other one would mislead after a restore.

While the database is behind nothing is repaired, and no remedy is given but `zpcode recover`: emptying Redis, moving a file or
setting a sequence by hand would destroy what proves the lost decisions and numbers.
"""

from __future__ import annotations

from typing import Final

from zpcode.errors import Text
from zpcode.rules.continuity import damaged, foreign
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import CheckResult, Invariant
from zpcode.store import recovery, recovery_held
from zpcode.store.database.session import transaction

RECOVER: Final = Text(
    "不要清空缓存、移动码文件或手工改序列：它们是恢复的依据；先执行 zpcode recover 查看，再执行它给出的命令",
    "do not empty Redis, move code files or set sequences by hand: the recovery needs them; run zpcode recover to see what "
    "is missing, then the command that it shows",
)
OTHER_REDIS: Final = Text(
    "检查 ZPCODE_REDIS_URL 与 ZPCODE_DATABASE_URL：该缓存属于另一套系统",
    "check ZPCODE_REDIS_URL and ZPCODE_DATABASE_URL: this Redis belongs to another installation",
)
DAMAGED: Final = Text(
    "见证方的记录已损坏：先以 zpcode recover --without（见证方名称）查看数据库是否落后，再修复或清空该见证方（docs/recovery.md）",
    "the record of a witness is damaged: see with zpcode recover --without (its name) whether the database is behind, then repair"
    " or empty it (docs/recovery.md)",
)
WAITING: Final = Text(
    "核对后执行 zpcode recover --confirm 名称，或 --reject 名称；全部见 zpcode recover",
    "compare each, then run zpcode recover --confirm NAME or --reject NAME; zpcode recover lists them all",
)
UNCONFIRMED: Final = "unconfirmed"
CONTINUITY: Final = Invariant(
    "continuity",
    Text(
        "数据库不落后于缓存、码文件与签名记录，没有待人工处理的恢复事项",
        "the database is not older than Redis, the code files or the signer's records, and nothing waits for a person after a"
        " recovery",
    ),
    RECOVER,
)


def continuity(context: CheckContext, outcome: CheckResult) -> None:
    """Every proof that the database is behind; everything that a recovery took from Redis alone and that waits for a person."""
    evidence = context.behind()
    outcome.examined = 1
    for one in evidence:
        outcome.find(one.kind, one.text.zh, one.text.en, where=one.witness)
    if foreign(evidence):
        outcome.advice = OTHER_REDIS
    if damaged(evidence):
        outcome.advice = DAMAGED
    if evidence:
        return
    with transaction(context.engine) as connection:
        names = [f"{one.scope}:{one.target}" for one in recovery_held.held_decisions(connection)]
        names += [f"activation:{one.number}" for one in recovery_held.held_activations(connection)]
        names += [f"record:{number}" for number in sorted(recovery.signed_batches(connection))]
        for name in dict.fromkeys(names):
            zh, en = "只有缓存证明，待人核对", "only Redis says so: a person has to compare it"
            outcome.find(UNCONFIRMED, zh, en, where=name)
            outcome.advice = WAITING
        for key in recovery.kept_cards(connection):
            zh, en = (
                "登记资料比缓存中的旧：请重新导入登记文件",
                "its records are older than in Redis: import the registry file again",
            )
            outcome.find(UNCONFIRMED, zh, en, where=key)
            outcome.advice = Text(zh, en)
