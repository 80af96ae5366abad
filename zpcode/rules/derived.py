"""The cards that follow from a batch's row, a lot's batches, and the decisions about a target: told anew from the truth.

The services write these cards step by step, as things happen; this is what they must have come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

import msgspec

from zpcode.rules import journey, timelines
from zpcode.rules.batches import Batch, iso, seconds
from zpcode.rules.changes import decision
from zpcode.rules.journey import Event
from zpcode.rules.status import StatusChange
from zpcode.wire.card import BatchCard, LotCard, Scope, Standing, State, Timeline


def batch_card(
    batch: Batch, made: Sequence[StatusChange], *, exceptions: bool, events: Sequence[Event] = ()
) -> BatchCard:
    """A batch's card from its row and all decisions about it and its ranges, in the order they were made.

    `exceptions` says whether single items of it have been decided about; `events` are all of the batch and its lot.
    """
    whole = [found for found in made if found.scope is Scope.BATCH]
    ranges = [found for found in made if found.scope is Scope.RANGE]
    return msgspec.structs.replace(
        batch.card(),
        timeline=timelines.timeline([decision(one) for one in whole], whole[-1].created_at) if whole else Timeline(()),
        ranges=timelines.ranges([decision(one) for one in ranges], ranges[-1].created_at) if ranges else (),
        exceptions=exceptions,
        journey=journey.told(events),
    )


def standing(made: Sequence[StatusChange]) -> Timeline:
    """The timeline of a registry record or an item from at least one decision about it, in the order they were made."""
    now = made[-1].created_at
    told = timelines.timeline([decision(one) for one in made], now)
    return told if told.standings else Timeline((Standing(State.GOOD, seconds(now)),))


def lot_card(
    gtin: str,
    lot: str,
    produced: date | None,
    expires: date | None,
    activated: datetime | None,
    events: Sequence[Event] = (),
) -> LotCard:
    """The card of a lot that has lot codes: active from the first of its batches that is, with all its `events`."""
    return LotCard(gtin, lot, iso(produced), iso(expires), seconds(activated), journey.told(events))
