"""A good code that somebody wants to make look as if it had been scanned by hundreds of people."""

from __future__ import annotations

import httpx

from tests.attack.target import Attempt, Attempts, Target

_AGENTS = 300
_ADDRESS, _OTHER = "60.190.7.1", "60.190.200.1"


def many_user_agents(target: Target) -> Attempts:
    """One address is one visitor within ten minutes, whatever its programs call themselves and whom they claim to pass on."""
    with target.scans_behind_a_proxy() as http:
        first = _scans(http, target.item, _ADDRESS)
        for number in range(_AGENTS):
            agent = f"Mozilla/5.0 (phone {number})"
            yield _attempt(http, target, first, f"agent {number}", _ADDRESS, {"User-Agent": agent})
        for number in range(_AGENTS // 10):
            language = {"User-Agent": f"Mozilla/5.0 ({number})", "Accept-Language": f"zh-CN, en;q=0.{number}"}
            yield _attempt(http, target, first, f"language {number}", _ADDRESS, language)
            invented = f"61.{number}.0.1, {_ADDRESS}"
            yield _attempt(http, target, first, f"invented address {number}", invented, {})
        counted = _scans(http, target.item, _OTHER) - first
        yield Attempt(
            "another address", "" if counted == 1 else f"it adds {counted} scans, so the attack shows nothing"
        )


def _attempt(
    http: httpx.Client, target: Target, first: int, name: str, address: str, headers: dict[str, str]
) -> Attempt:
    more = _scans(http, target.item, address, headers) - first
    return Attempt(name, f"{more} scans more" if more else "")


def _scans(http: httpx.Client, path: str, address: str, headers: dict[str, str] | None = None) -> int:
    """How often a code was scanned, as somebody reads it who scans it from this address."""
    forwarded = {"Accept": "application/json", "User-Agent": "Mozilla/5.0", "X-Forwarded-For": address}
    answer = http.get(path, headers=forwarded | (headers or {}))
    return int(answer.raise_for_status().json()["history"]["scans"])
