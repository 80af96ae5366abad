"""Shared by all tables: their metadata, and the columns for times and for texts in two languages."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    DateTime,
    MetaData,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()


def moment(name: str) -> Column[object]:
    """A column for an aware time (timestamptz)."""
    return Column(name, DateTime(timezone=True))


def bilingual(name: str) -> Column[object]:
    """A column for a text in two languages: `{"zh": …, "en": …}`."""
    return Column(name, JSONB)
