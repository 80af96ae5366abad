"""The city of a cut network, from an optional database in MaxMind's format.

MaxMind DB File Format 2.0 with records of GeoLite2-City: `city.names.zh-CN`, `city.names.en`. Where no city is given, the
first subdivision or the country is used.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import maxminddb

from zpcode.wire.scan_event import place_text


class GeoIP:
    """Cities by network. Without a database every city is unknown.

    Raises OSError or maxminddb.InvalidDatabaseError where the file is not such a database.
    """

    def __init__(self, path: Path | None) -> None:
        self._reader = maxminddb.open_database(path) if path else None
        self.city = lru_cache(maxsize=8192)(self._city)

    def _city(self, network: str) -> str:
        """The city's `place_text` for a network in CIDR notation; empty when unknown."""
        if self._reader is None or not network:
            return ""
        try:
            record: Any = self._reader.get(network.partition("/")[0])
        except (ValueError, maxminddb.InvalidDatabaseError):
            return ""
        names = _names(record)
        return place_text(str(names.get("zh-CN", "")), str(names.get("en", "")))

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()


def _names(record: Any) -> dict[str, Any]:
    if not isinstance(record, dict):
        return {}
    subdivisions = record.get("subdivisions")
    first = subdivisions[0] if isinstance(subdivisions, list) and subdivisions else {}
    for place in (record.get("city"), first, record.get("country")):
        names = place.get("names") if isinstance(place, dict) else None
        if isinstance(names, dict) and names:
            return names
    return {}
