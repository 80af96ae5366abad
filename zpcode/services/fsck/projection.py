"""Redis against the card table: its head, every card, every mark, and nothing besides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from zpcode.errors import Text, Unavailable
from zpcode.projection import client, comparison, copies, projector
from zpcode.projection.comparison import Difference
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.report import CheckResult, Invariant
from zpcode.store import cards as card_table
from zpcode.store.database.session import transaction
from zpcode.store.monitoring import integrity
from zpcode.wire.card import GENERATION_FIELD, REVISION_FIELD

HEAD: Final = Invariant(
    "projection-head",
    Text("缓存已同步到数据库的最新修订", "Redis has been told of everything up to the database's head"),
    Text(
        "让后台进程运行：zpcode worker；或立即同步：zpcode fsck --repair",
        "let a worker run: zpcode worker; or bring it up now: zpcode fsck --repair",
    ),
)
CARDS: Final = Invariant(
    "projection",
    Text(
        "缓存中的每张卡片与数据库一致，没有多余的卡片", "each card in Redis is the database's, and there are no others"
    ),
    Text(
        "zpcode fsck --repair；后台进程也会在一轮比对内改正",
        "zpcode fsck --repair; a running worker puts it right within one round of its comparison",
    ),
)
_SLICE: Final = 2000
_ATTEMPTS: Final = 5
_WORDS: Final = {
    "missing": ("缓存里没有这张卡片", "Redis does not have this card"),
    "older": ("缓存里是旧的卡片", "Redis has an older card"),
    "newer": ("缓存里的修订号比数据库的还新", "Redis has a revision the database has not reached"),
    "altered": ("缓存里的卡片内容不同", "Redis has other bytes under the same revision"),
    "unreadable": ("缓存里这个位置不是卡片", "what stands in Redis there is no card"),
    "stray": ("数据库没有这张卡片", "the database has no such card"),
    "mark": ("缺少“已齐全”标记", "the mark that all are there is missing"),
}
T = TypeVar("T")


def head(context: CheckContext, outcome: CheckResult) -> None:
    """Every server of Redis stands at the database's head, or gets there within moments: a commit tells it at once."""
    waited = 0.0
    while (found := _behind(context, outcome)) and waited < context.patience:
        context.pause(0.25)
        waited += 0.25
    for where, reason, zh, en in found:
        outcome.find(reason, zh, en, where=where)
    if context.repair and found:
        revision = _patiently(context, partial(projector.catch_up, context.engine, context.redis))
        outcome.add_repair(
            f"缓存已同步到修订 {revision}", f"Redis was brought to revision {revision}", count=len(found)
        )


def _behind(context: CheckContext, outcome: CheckResult) -> list[tuple[str, str, str, str]]:
    """The heads that are not the database's: where, reason, and two texts."""
    found = []
    shards = client.layout(context.redis).shards
    outcome.examined = len(shards)
    for shard in shards:
        generation, told = shard.redis.hmget(shard.feed.head, [GENERATION_FIELD, REVISION_FIELD])
        with transaction(context.engine) as connection:
            newest = card_table.head(connection)
        if generation is None or told is None or not told.isdigit():
            words = "empty", "缓存是空的，扫码由数据库回答", "Redis is empty: scans are answered from the database"
        elif int(told) < newest:
            words = (
                "behind",
                f"停在修订 {int(told)}，数据库在 {newest}",
                f"stands at {int(told)}, the database at {newest}",
            )
        elif int(told) > newest:
            words = (
                "ahead",
                f"在修订 {int(told)}，数据库只到 {newest}",
                f"stands at {int(told)}, the database only at {newest}",
            )
        else:
            continue
        found.append((shard.feed.head, *words))
    return found


def cards(context: CheckContext, outcome: CheckResult) -> None:
    """Slice by slice: the database's cards in Redis, the marks of its hashes, then Redis's cards in the database."""
    layout = client.layout(context.redis)
    if not all(shard.redis.exists(shard.feed.head) for shard in layout.shards):
        outcome.obstacle = Text("缓存是空的，无从比对", "Redis is empty: there is nothing to compare")
        return
    engine, redis, repair = context.engine, context.redis, context.repair
    _tell(outcome, _patiently(context, partial(comparison.compare_standings_mark, engine, redis, repair=repair)))
    after = ""
    while True:
        with transaction(engine) as connection:
            chunk = integrity.cards_after(connection, after, _SLICE)
        if not chunk:
            break
        outcome.examined += len(chunk)
        _tell(outcome, _patiently(context, partial(comparison.compare, engine, redis, chunk, repair=repair)))
        after = chunk[-1].key
    listed = copies.keys(layout)
    while keys := list(islice(listed, _SLICE)):
        _tell(outcome, _patiently(context, partial(comparison.strays, engine, redis, keys, repair=repair)))


def _tell(outcome: CheckResult, found: Sequence[Difference]) -> None:
    for one in found:
        outcome.find(one.kind, *_WORDS[one.kind], where=one.key)
        if one.repaired and one.kind == "stray":
            outcome.add_repair(f"已从缓存删除 {one.key}", f"took {one.key} out of Redis")
        elif one.repaired:
            outcome.add_repair(f"已在缓存重写 {one.key}", f"wrote {one.key} into Redis anew")


def _patiently(context: CheckContext, work: Callable[[], T]) -> T:
    """Do something that needs the projector's lock, which somebody else may hold for a moment."""
    for _ in range(_ATTEMPTS):
        try:
            return work()
        except Unavailable:
            context.pause(0.2)
    return work()
