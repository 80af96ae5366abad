"""Addresses, browsers and languages of virtual consumers, and forged codes. Pure: the random numbers are an argument."""

from __future__ import annotations

from random import Random
from typing import Final

# User agents of the three channels, and their weights.
_IPHONE: Final = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
_ANDROID: Final = "Mozilla/5.0 (Linux; Android 16) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Mobile"
_AGENTS: Final = (
    (f"{_IPHONE} Mobile/15E148 MicroMessenger/8.0.61 NetType/5G Language/zh_CN", 60),
    (f"{_ANDROID} Safari/537.36 AlipayClient/10.7.20", 25),
    (f"{_ANDROID} Safari/537.36", 15),
)
_LANGUAGES: Final = (("zh-CN,zh;q=0.9", 92), ("en-GB,en;q=0.8", 8))
PREVIEWER: Final = "Mozilla/5.0 (compatible; WeChatShareExtension/1.0)"
_CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def address(rng: Random) -> str:
    """An address of the reserved block 240.0.0.0/4 (RFC 1112), which nobody uses: a million /24 networks."""
    return f"{rng.randrange(240, 255)}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def scraper_address(number: int) -> str:
    """The address of a scraper, from the block for benchmarks 198.18.0.0/15 (RFC 2544). Each is in another /24."""
    return f"198.{18 + number // 256 % 2}.{number % 256}.7"


def headers(rng: Random, *, as_json: bool = False) -> dict[str, str]:
    """The headers of one scan by a new person."""
    return {
        "Accept": "application/json" if as_json else "text/html",
        "Accept-Language": _pick(_LANGUAGES, rng),
        "User-Agent": _pick(_AGENTS, rng),
        "X-Forwarded-For": address(rng),
    }


def _pick(weighted: tuple[tuple[str, int], ...], rng: Random) -> str:
    at = rng.randrange(sum(weight for _, weight in weighted))
    for value, weight in weighted:
        at -= weight
        if at < 0:
            return value
    raise AssertionError("unreachable: the number is below the sum of the weights")


# Codes that were not issued ----------------------------------------------------------------------------------


def forged(path: str, rng: Random) -> str:
    """A wrong code made from an issued one: another serial, a changed letter in the seal, or a made-up short code."""
    stem, _, serial = path.rpartition("/")
    match rng.randrange(4):
        case 0:
            return f"{stem}/{_other(serial, rng)}"
        case 1:
            _, seal, rest = path.split("/", 2)
            at = rng.randrange(4, len(seal) - 1)
            changed = rng.choice([letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" if letter != seal[at]])
            return f"/{seal[:at]}{changed}{seal[at + 1 :]}/{rest}"
        case 2:
            return f"/{_bare(stem)}/{_random(20, rng)}"
        case _:
            return f"/{_bare(stem)}/{_random(12, rng)}"


def unsealed(path: str) -> str:
    """A sealed code without its seal, as a person types it from the label."""
    return "/" + _bare(path)


def _bare(path: str) -> str:
    return path.split("/", 2)[2]


def _other(serial: str, rng: Random) -> str:
    while (other := _random(len(serial), rng)) == serial:
        continue
    return other


def _random(length: int, rng: Random) -> str:
    return "".join(rng.choice(_CROCKFORD) for _ in range(length))
