"""When a recovery refuses: a witness that is silent, empty or damaged, and numbers that cannot be right."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from keys.log.ceiling import AUDIT_ENTRIES
from zpcode.errors import Conflict, Finding, Text
from zpcode.projection.heads import WITNESS as REDIS
from zpcode.rules.continuity import BehindEvidence, DatabaseMarks, Marks, damaged_mark
from zpcode.services.continuity.report import RecoverySetting
from zpcode.services.continuity.witnesses import Testimony
from zpcode.wire.payload import MAX_BATCH

PLAUSIBLE_JUMP: Final = 10_000
"""So many batch numbers may be left out without a confirmation."""
PLAUSIBLE_ENTRIES: Final = AUDIT_ENTRIES.start
"""So many numbers of audit entries may be skipped without a confirmation: the signer countersigns so far ahead at any time."""
PLAUSIBLE_DECISIONS: Final = 10_000
"""So many decisions may be entered again without a confirmation."""
GREATEST_JUMP: Final = 1_000_000
"""So many may be left out with one. Each that is left out gets a card, so that its codes never look forged."""
NUMBERS_LEFT: Final = 1_000_000
"""A jump over more than `PLAUSIBLE_JUMP` numbers must leave so many."""


def conflict(reason: str, zh: str, en: str) -> Conflict:
    """A refusal with its one finding."""
    text = Text(zh, en)
    return Conflict(text, (Finding(reason, text),))


def silent(witness: str) -> Conflict:
    """A witness does not answer."""
    return conflict(
        "silent-witness",
        f"{witness} 没有应答，其记录可能比数据库新；请先使其恢复应答，或以 --without {witness} 略过",
        f"{witness} does not answer, and may know more; make it answer first, or leave it out with --without {witness}",
    )


def sound(
    setting: RecoverySetting, testimonies: Mapping[str, Testimony], database: DatabaseMarks
) -> dict[str, Testimony]:
    """The testimonies without marks that cannot be or cannot be read. Raises Conflict if such a witness may not be left out."""
    checked = {}
    for name, testimony in testimonies.items():
        marks = tuple(one for one in testimony.marks if not damaged_mark(one, database.assigned))
        wrong = [testimony.damage, *(damaged_mark(one, database.assigned) for one in testimony.marks)]
        wrong = [damage for damage in wrong if damage]
        if wrong and name not in setting.without:
            evidence = BehindEvidence(name, "damaged", wrong[0], "")
            raise conflict(
                "damaged-witness",
                f"{evidence.text.zh}；不能作为恢复的依据，请先修复，或以 --without {name} 略过",
                f"{evidence.text.en}; nothing can be recovered from it: repair it first, or leave it out with --without {name}",
            )
        checked[name] = testimony._replace(marks=marks, complete=testimony.complete and not wrong, damage="")
    return checked


def require_redis(setting: RecoverySetting, testimonies: Mapping[str, Testimony]) -> None:
    """Raise Conflict if Redis, or one server of it, answers and was emptied or has a forged head, and may not be left out."""
    redis = testimonies.get(REDIS)
    if redis is not None and not redis.complete and REDIS not in setting.without:
        raise conflict(
            "empty-witness",
            "缓存（或其中一台）是空的，或者其进度记录（head）是伪造的，无从得知备份之后的决定：若继续恢复，已撤销的码会重新显示为有效；请先恢复缓存的数据，确已丢失的，才以 --without redis 略过",
            "Redis, or one server of it, is empty or has a forged head, and remembers no decision that came later: codes that"
            " were revoked would be good again; restore its data first, and only if they are lost for good leave it out with --without redis",
        )


def require_agreed(digest: str, agreed: str) -> None:
    """Raise Conflict if what would be entered is not what the operator has read: it has another digest."""
    if digest != agreed:
        raise conflict(
            "another-finding",
            f"现在的内容（{digest}）与查看时的（{agreed[:40]}）不同，未作任何更改；请重新执行 zpcode recover 查看",
            f"what would be done now ({digest}) is not what was shown ({agreed[:40]}); nothing was changed: run zpcode recover"
            " and read it again",
        )


def require_plausible_decisions(setting: RecoverySetting, count: int) -> None:
    """Raise Conflict if Redis shows more lost decisions than is plausible."""
    if count > PLAUSIBLE_DECISIONS and not setting.even_so:
        raise conflict(
            "implausible-decisions",
            f"缓存显示 {count} 项数据库没有的决定，超过 {PLAUSIBLE_DECISIONS} 项；请核对缓存是否被人改动，确认无误后加 --even-so",
            f"Redis shows {count} decisions that the database lacks, more than {PLAUSIBLE_DECISIONS}; check whether somebody has"
            " written to Redis, and confirm with --even-so if it is right",
        )


def require_plausible(setting: RecoverySetting, known: Marks, database: DatabaseMarks) -> None:
    """Raise Conflict if more batch numbers or audit entries would be left out than can be right, or too few would be left."""
    _require_plausible_entries(setting, known.audit, database.assigned.audit)
    own = database.assigned.batch
    jump, left = known.batch - own, MAX_BATCH - known.batch
    if jump <= PLAUSIBLE_JUMP:
        return
    zh = f"批次序号将由 {own} 跳到 {known.batch}"
    en = f"batch numbers would jump from {own} to {known.batch}"
    if left < NUMBERS_LEFT or jump > GREATEST_JUMP:
        raise conflict(
            "implausible-number",
            f"{zh}，此后只剩 {left} 个；一次最多跳过 {GREATEST_JUMP} 个，且至少须剩 {NUMBERS_LEFT} 个。请核对 --above 与各见证方，并修复记录有误的一方",
            f"{en}, and {left} would be left; at most {GREATEST_JUMP} are left out at once, and at least {NUMBERS_LEFT} must be"
            " left. Check --above and the witnesses; repair the one that is wrong",
        )
    if not setting.even_so:
        raise conflict(
            "implausible-number",
            f"{zh}，超过 {PLAUSIBLE_JUMP} 个；请核对 --above 与各见证方，确认无误后加 --even-so",
            f"{en}, over more than {PLAUSIBLE_JUMP}; check --above and the witnesses, and confirm with --even-so if it is right",
        )


def _require_plausible_entries(setting: RecoverySetting, known: int, own: int) -> None:
    """Raise Conflict if the audit log would go on further ahead than the signer countersigns at once."""
    if known - own <= PLAUSIBLE_ENTRIES or setting.even_so:
        return
    name = AUDIT_ENTRIES.setting
    raise conflict(
        "implausible-entry",
        f"审计日志将由第 {own} 条跳到第 {known + 1} 条，超过 {PLAUSIBLE_ENTRIES} 条，签名服务可能不再会签；请核对各见证方。确认无误后，"
        f"先把签名服务的 {name} 设为 {known + PLAUSIBLE_ENTRIES} 并重启，再加 --even-so",
        f"the audit log would jump from entry {own} to {known + 1}, over more than {PLAUSIBLE_ENTRIES}, and the signer may refuse to"
        f" countersign it; check the witnesses. If it is right, first set {name} of the signer to {known + PLAUSIBLE_ENTRIES} and"
        " restart the signer, then confirm with --even-so",
    )
