"""Compare Redis with the card table: its heads, all cards and marks, and no other cards."""

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
    Text("缓存已同步到数据库的最新修订", "Redis is up to date with the newest revision of the database"),
    Text(
        "让后台进程运行：zpcode worker；或立即同步：zpcode fsck --repair",
        "let a worker run: zpcode worker; or update Redis now: zpcode fsck --repair",
    ),
)
CARDS: Final = Invariant(
    "projection",
    Text(
        "缓存中的每张卡片与数据库一致，没有多余的卡片",
        "each card in Redis equals that of the database, and there are no others",
    ),
    Text(
        "zpcode fsck --repair；后台进程在一轮比对之内也会改正",
        "zpcode fsck --repair; a running worker also repairs it within one round of its comparison",
    ),
)
_SLICE: Final = 2000
_ATTEMPTS: Final = 5
_WORDS: Final = {
    "missing": ("缓存中没有这张卡片", "Redis does not have this card"),
    "older": ("缓存中是旧的卡片", "Redis has an older card"),
    "newer": ("缓存中的修订号大于数据库的修订号", "Redis has a newer revision than the database"),
    "altered": ("缓存中的卡片修订号相同、内容不同", "Redis has different content with the same revision"),
    "unreadable": ("缓存中此处不是卡片", "the value in Redis is not a card"),
    "stray": ("数据库没有这张卡片", "the database has no such card"),
    "mark": ("缺少“已齐全”标记", "the mark of completeness is missing"),
}
T = TypeVar("T")


def head(context: CheckContext, outcome: CheckResult) -> None:
    """Check that all heads in Redis have the newest revision. A change just committed is copied within moments."""
    waited = 0.0
    while (differences := _differing_heads(context, outcome)) and waited < context.patience:
        context.pause(0.25)
        waited += 0.25
    for where, reason, zh, en in differences:
        outcome.find(reason, zh, en, where=where)
    if context.repair and differences:
        revision = _with_retries(context, partial(projector.catch_up, context.engine, context.redis))
        outcome.add_repair(
            f"缓存已同步到修订 {revision}", f"Redis was updated to revision {revision}", count=len(differences)
        )


def _differing_heads(context: CheckContext, outcome: CheckResult) -> list[tuple[str, str, str, str]]:
    """The heads that differ from that of the database: key, reason, and a text in two languages."""
    differences = []
    shards = client.layout(context.redis).shards
    outcome.examined = len(shards)
    for shard in shards:
        generation, revision = shard.redis.hmget(shard.feed.head, [GENERATION_FIELD, REVISION_FIELD])
        with transaction(context.engine) as connection:
            newest = card_table.head(connection)
        if generation is None or revision is None or not revision.isdigit():
            words = "empty", "缓存是空的，扫码由数据库回答", "Redis is empty: scans read the database"
        elif int(revision) < newest:
            words = (
                "behind",
                f"缓存停在修订 {int(revision)}，数据库为 {newest}",
                f"has revision {int(revision)}, the database has {newest}",
            )
        elif int(revision) > newest:
            words = (
                "ahead",
                f"缓存为修订 {int(revision)}，数据库只到 {newest}",
                f"has revision {int(revision)}, the database has only {newest}",
            )
        else:
            continue
        differences.append((shard.feed.head, *words))
    return differences


def cards(context: CheckContext, outcome: CheckResult) -> None:
    """Compare in slices: the cards of the database and the marks with Redis, then the cards of Redis with the database."""
    layout = client.layout(context.redis)
    if not all(shard.redis.exists(shard.feed.head) for shard in layout.shards):
        outcome.obstacle = Text("缓存是空的，无从比对", "Redis is empty, so there is nothing to compare")
        return
    engine, redis, repair = context.engine, context.redis, context.repair
    _add(outcome, _with_retries(context, partial(comparison.compare_standings_mark, engine, redis, repair=repair)))
    after = ""
    while True:
        with transaction(engine) as connection:
            chunk = integrity.cards_after(connection, after, _SLICE)
        if not chunk:
            break
        outcome.examined += len(chunk)
        _add(outcome, _with_retries(context, partial(comparison.compare, engine, redis, chunk, repair=repair)))
        after = chunk[-1].key
    listed = copies.keys(layout)
    while keys := list(islice(listed, _SLICE)):
        _add(outcome, _with_retries(context, partial(comparison.strays, engine, redis, keys, repair=repair)))


def _add(outcome: CheckResult, differences: Sequence[Difference]) -> None:
    for one in differences:
        outcome.find(one.kind, *_WORDS[one.kind], where=one.key)
        if one.repaired and one.kind == "stray":
            outcome.add_repair(f"已从缓存删除 {one.key}", f"deleted {one.key} from Redis")
        elif one.repaired:
            outcome.add_repair(f"已在缓存重写 {one.key}", f"wrote {one.key} to Redis again")


def _with_retries(context: CheckContext, work: Callable[[], T]) -> T:
    """Call `work`, which needs the projector's lock; try again while another process has it."""
    for _ in range(_ATTEMPTS):
        try:
            return work()
        except Unavailable:
            context.pause(0.2)
    return work()
