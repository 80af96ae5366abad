"""Who scans: addresses, browsers and languages of virtual consumers. Pure; luck is passed in."""

from __future__ import annotations

from random import Random
from typing import Final

# What the three ways in say of themselves, and how often each is taken.
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


def address(luck: Random) -> str:
    """An address of the block reserved for ever (240.0.0.0/4, RFC 1112): a million /24s, and nobody's."""
    return f"{luck.randrange(240, 255)}.{luck.randrange(256)}.{luck.randrange(256)}.{luck.randrange(1, 255)}"


def scraper_address(number: int) -> str:
    """The one address of a scraper, of the block for measuring (198.18.0.0/15, RFC 2544): each in a /24 of its own."""
    return f"198.{18 + number // 256 % 2}.{number % 256}.7"


def headers(luck: Random, *, as_json: bool = False) -> dict[str, str]:
    """The headers of one view by somebody who has not been here before."""
    return {
        "Accept": "application/json" if as_json else "text/html",
        "Accept-Language": _pick(_LANGUAGES, luck),
        "User-Agent": _pick(_AGENTS, luck),
        "X-Forwarded-For": address(luck),
    }


def _pick(weighted: tuple[tuple[str, int], ...], luck: Random) -> str:
    at = luck.randrange(sum(weight for _, weight in weighted))
    for value, weight in weighted:
        at -= weight
        if at < 0:
            return value
    raise AssertionError("the weights are summed above")


# Codes that nobody issued ----------------------------------------------------------------------------------


def forged(path: str, luck: Random) -> str:
    """A real item code made wrong: another serial under its seal, a turned letter of the seal, or a made-up short code."""
    stem, _, serial = path.rpartition("/")
    match luck.randrange(4):
        case 0:
            return f"{stem}/{_other(serial, luck)}"
        case 1:
            _, seal, rest = path.split("/", 2)
            at = luck.randrange(4, len(seal) - 1)
            turned = luck.choice([letter for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567" if letter != seal[at]])
            return f"/{seal[:at]}{turned}{seal[at + 1 :]}/{rest}"
        case 2:
            return f"/{_bare(stem)}/{_random(20, luck)}"
        case _:
            return f"/{_bare(stem)}/{_random(12, luck)}"


def unsealed(path: str) -> str:
    """A sealed code without its seal, as somebody would type it off the label."""
    return "/" + _bare(path)


def _bare(path: str) -> str:
    return path.split("/", 2)[2]


def _other(serial: str, luck: Random) -> str:
    while (found := _random(len(serial), luck)) == serial:
        continue
    return found


def _random(length: int, luck: Random) -> str:
    return "".join(luck.choice(_CROCKFORD) for _ in range(length))
