"""The words of the page: every language complete, nothing unused, and the reader gets the right one."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scanweb.page import texts
from zpcode.language.negotiation import Languages, wants_json
from zpcode.rules import journey
from zpcode.rules.registry import layout
from zpcode.rules.status.reasons import REASONS
from zpcode.wire.payload import Level
from zpcode.wire.scan_event import place_name, place_text
from zpcode.wire.verdict import Verdict
from zpcode.wire.vocabulary import Bilingual, Scope, State

WORDS = texts.load()
SCANWEB = Path(texts.__file__).parents[1]
VERIFY = SCANWEB / "page" / "templates" / "verify.html"
CHOICES = {
    "standard.kind": layout.STANDARD_KINDS,
    "standard.status": layout.STANDARD_STATUSES,
    "certificate.kind": layout.CERTIFICATE_KINDS,
    "tier": layout.TIERS,
    "recognition.path": layout.PATHS,
    "old_stock": layout.OLD_STOCK,
    "direction": layout.DIRECTIONS,
    "commitment.kind": layout.COMMITMENT_KINDS,
    "claim.kind": layout.CLAIM_KINDS,
}


def needed() -> set[str]:
    """Every key the code and the templates can ask for."""
    keys = {f"{family}.{choice.code}" for family, choices in CHOICES.items() for choice in choices}
    keys |= {f"verdict.{verdict.public}.{part}" for verdict in Verdict for part in ("title", "meaning", "advice")}
    keys |= {f"verdict.{variant}.meaning" for variant in (
        "verified.ended", "verified.online", "revoked.ended", "unconfirmed.unsealed", "unconfirmed.lost")}  # fmt: skip
    keys.add("verdict.unconfirmed.lost.advice")
    keys |= {f"state.{state}" for state in State if state is not State.GOOD} | {f"scope.{scope}" for scope in Scope}
    keys |= {f"reason.{slug}" for slug in REASONS} | {f"level.{level}" for level in Level}
    keys |= {f"how.{proof}" for proof in ("sealed", "online", "missing")} | {f"language.{tag}" for tag in WORDS}
    keys |= {f"journey.kind.{kind}" for kind in journey.KINDS} | {f"tone.{verdict.tone}" for verdict in Verdict}
    keys |= {f"verify.said.{outcome}" for outcome in re.findall(r"\('([a-z]+)', '", VERIFY.read_text("utf-8"))}
    keys |= {"format.moment"} | {f"{key}.place" for key in ("history.nth", "history.so_far")}
    sources = [*SCANWEB.glob("page/templates/*.html"), *SCANWEB.rglob("*.py")]
    literal = re.compile(r"""["']([a-z_]+(?:\.[a-z_]+)+)["']""")
    asked = re.compile(r"""\b(?:t|row)\(\s*["']([^"']*[^."'])["']""")
    written = [source.read_text("utf-8") for source in sources]
    mentioned = {key for source in written for key in literal.findall(source)} & set(WORDS["zh-CN"].words)
    return keys | mentioned | {key for source in written for key in asked.findall(source)}


@pytest.mark.parametrize("language", WORDS)
def test_no_language_misses_a_key_and_none_has_one_too_many(language: str) -> None:
    assert set(WORDS[language].words) == needed()


def places(words: str) -> set[str]:
    """The placeholders of a text."""
    return {name for _, name, _, _ in string.Formatter().parse(words) if name}


@pytest.mark.parametrize("language", WORDS)
def test_every_language_fills_the_same_places(language: str) -> None:
    for key, words in WORDS[language].words.items():
        assert words.strip(), key
        assert places(words) == places(WORDS["zh-CN"].words[key]), key


@pytest.mark.parametrize("language", WORDS)
def test_no_text_says_that_a_thing_is_the_original(language: str) -> None:
    for key, words in WORDS[language].words.items():
        assert not re.search(r"100\s*%|正品|genuine|authentic", words, re.IGNORECASE), key


def test_the_reasons_read_as_the_rules_have_them() -> None:
    for slug, reason in REASONS.items():
        assert (WORDS["zh-CN"](f"reason.{slug}"), WORDS["en"](f"reason.{slug}")) == (reason.text.zh, reason.text.en)


def test_dates_read_as_the_language_writes_them() -> None:
    assert (WORDS["zh-CN"].date("2026-01-05"), WORDS["en"].date("2026-01-05")) == ("2026年1月5日", "5 January 2026")
    assert WORDS["en"].date("soon") == "soon"


def test_times_are_shown_in_shanghai() -> None:
    noon_in_hangzhou = 1_795_233_630  # 2026-11-21 04:00:30 UTC
    assert WORDS["zh-CN"].moment(noon_in_hangzhou) == "2026年11月21日 12:00"
    assert WORDS["en"].moment(noon_in_hangzhou) == "21 November 2026, 12:00"


def test_a_text_given_in_one_language_only_is_shown_and_marked_as_such() -> None:
    only = Bilingual("青瓷")
    assert (WORDS["en"].pick(only), WORDS["en"].tag_of(only)) == ("青瓷", "zh-CN")
    assert (WORDS["zh-CN"].pick(Bilingual("", "tea")), WORDS["zh-CN"].tag_of(Bilingual("", "tea"))) == ("tea", "en")


@given(st.text(max_size=600), st.text(max_size=40))
def test_no_header_upsets_the_choice(accept: str, asked: str) -> None:
    assert Languages(("zh-CN", "en")).choose(asked, accept) in {"zh-CN", "en"}
    assert wants_json(accept, asked) in {True, False}


@given(st.text(), st.text())
def test_a_place_stays_small_and_comes_back(zh: str, en: str) -> None:
    assert len(place_text(zh, en).encode("utf-8", "surrogatepass")) <= 36


def test_a_place_is_named_in_the_readers_language() -> None:
    both = place_text("杭州", "Hangzhou")
    assert (place_name(both, "zh-CN"), place_name(both, "en")) == ("杭州", "Hangzhou")
    assert place_name(place_text("", "Paris"), "zh-CN") == "Paris"
    assert place_text("", "") == ""
