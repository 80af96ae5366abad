"""What the head of each shard says: generation, revision, slots, and the high-water marks of the database.

The marks make Redis a witness of how far the database had come (`zpcode.rules.continuity`). Only the authority reads them.
A head is ahead of the database if and only if the database went back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from redis.exceptions import ResponseError

from zpcode.errors import DatabaseBehind, Text
from zpcode.projection.client import Layout, ShardClient
from zpcode.rules.continuity import BehindEvidence, DatabaseMarks, Marks, behind, damaged, foreign, unreadable
from zpcode.wire.card import GENERATION_FIELD, REVISION_FIELD
from zpcode.wire.redis_keys import CODE_FIELD, MARKS_FIELD

SLOTS_FIELD: Final = "slots"
WITNESS: Final = "redis"
_BEHIND: Final = Text(
    "数据库比缓存、码文件或签名记录旧，可能由备份恢复而来；已停止签发、作出决定和同步，须由平台运营方执行 zpcode recover",
    "the database is older than Redis, the code files or the signer's records, as after a restore from a backup; nothing is"
    " issued, decided or projected until the operator runs: zpcode recover",
)
_FOREIGN: Final = Text(
    "缓存属于另一套系统（另一个数据库），不予改写；请检查 ZPCODE_REDIS_URL 与 ZPCODE_DATABASE_URL，确知那套系统已停用，才可清空该缓存",
    "this Redis belongs to another installation (another database) and is not overwritten; check ZPCODE_REDIS_URL and"
    " ZPCODE_DATABASE_URL, and empty this Redis only if the other installation is gone for good",
)
_DAMAGED: Final = Text(
    "无法判断数据库是否落后：见证方的记录已损坏（{zh}）；请先执行 zpcode recover --without {witness} 查看并处理，再修复或清空该见证方（docs/recovery.md）",
    "a witness's record is damaged, so nobody can say whether the database is behind ({en}); see what"
    " zpcode recover --without {witness} shows, then repair or empty that witness (docs/recovery.md)",
)
_DIGITS: Final = 40
_SHOWN_BYTES: Final = 40
_DECODER: Final = msgspec.json.Decoder(Marks)


class ShardHead(NamedTuple):
    """The head of one shard. An empty shard has no generation and revision -1; `marks` are empty in a head without any.

    `damage` is the field that cannot be read, as `field=value`, the value cut; empty in a head that can be read. `sealed` are the marks as
    they were read, `code` authenticates them (`zpcode.rules.head_key`); both empty if there are none.
    """

    generation: str = ""
    revision: int = -1
    slots: str = ""
    marks: Marks = Marks()
    damage: str = ""
    sealed: bytes = b""
    code: bytes = b""


def read(shard: ShardClient) -> ShardHead:
    """The head of a shard. Raises RedisError.

    What can be read of a damaged head still counts: its revision is a witness without its marks.
    """
    names = [GENERATION_FIELD, REVISION_FIELD, SLOTS_FIELD, MARKS_FIELD, CODE_FIELD]
    try:
        values: list[Any] = shard.redis.hmget(shard.feed.head, names)
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return ShardHead(damage=f"head={error}")
    if not any((values[0], values[1], values[3])):
        return ShardHead()
    generation, revision, slots = ((value or b"").decode("ascii", "replace") for value in values[:3])
    marks = decode(values[3])
    readable = {GENERATION_FIELD: bool(generation), REVISION_FIELD: revision.isdigit(), MARKS_FIELD: marks is not None}
    damage = next((_shown(name, values[names.index(name)]) for name, well in readable.items() if not well), "")
    reached, marks = int(revision[:_DIGITS]) if revision.isdigit() else -1, marks or Marks()
    marks = msgspec.structs.replace(marks, revision=max(marks.revision, reached))
    return ShardHead(generation, reached, slots, marks, damage, values[3] or b"", values[4] or b"")


def _shown(name: str, value: bytes | None) -> str:
    """A field as it is shown to the operator."""
    return f"{name}={(value or b'')[:_SHOWN_BYTES]!a}"


def decode(value: bytes | None) -> Marks | None:
    """The marks in a head; empty in a head of a version without marks, None where they cannot be read."""
    try:
        return _DECODER.decode(value) if value else Marks()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None


def encode(marks: Marks) -> bytes:
    """The marks as the head has them."""
    return msgspec.json.encode(marks)


def ahead(heads: Iterable[ShardHead], database: DatabaseMarks) -> list[BehindEvidence]:
    """In what the heads are ahead of the database, whose hashes were asked for as `audit_ids` says."""
    proofs: list[BehindEvidence] = []
    for head in heads:
        proofs += unreadable(WITNESS, head.damage)
        proofs += behind(WITNESS, head.marks, database)
    return list(dict.fromkeys(proofs))


def audit_ids(heads: Iterable[ShardHead]) -> set[int]:
    """The audit entries whose hashes the heads know."""
    return {head.marks.audit for head in heads if head.marks.audit_hash}


def refusal(proofs: Sequence[BehindEvidence]) -> DatabaseBehind:
    """The error of everything that would write on this evidence."""
    if damaged(proofs):
        words = {"zh": proofs[0].text.zh, "en": proofs[0].text.en, "witness": proofs[0].witness}
        return DatabaseBehind(Text(_DAMAGED.zh.format(**words), _DAMAGED.en.format(**words)))
    return DatabaseBehind(_FOREIGN if foreign(proofs) else _BEHIND)


def of_layout(layout: Layout) -> list[ShardHead]:
    """The heads of all shards. Raises RedisError if one does not reply."""
    return [read(shard) for shard in layout.shards]
