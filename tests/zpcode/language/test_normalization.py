"""Text with long runs of combining marks is refused before it is normalised, everywhere."""

from __future__ import annotations

import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zpcode.errors import Refused
from zpcode.language.normalization import MAX_NON_STARTERS, is_stream_safe, normalized, normalized_if_safe
from zpcode.rules.complaints import complaint, reference
from zpcode.rules.registry.cell_values import clean_code, read_codes
from zpcode.rules.registry.grades import is_grade
from zpcode.services.registry.files.workbook import sheet_named
from zpcode.wire.quantity import span

DESCENDING = "a" + "".join(mark * 2500 for mark in "\u0345\u035d\u0315\u0300")
"""Marks in descending class: CPython needs quadratic time to sort them."""
HIDDEN = {
    "marks": "\u0315\u0300" * 40,
    "a starter that becomes two marks": "\u0f73" * 40,
    "a mark that becomes two": "\u0344" * 20,
    "half-width sound marks": "\uff9e" * 40,
    "a letter that decomposes into marks": "\u01d6" + "\u0300" * 29,
}
ORDINARY = ("", "abc", "浙江省", "Việt Nam", "ﾊﾟﾋﾞ", "ཀྵུ", "สวัสดี", "e" + "\u0301" * MAX_NON_STARTERS, "a\u0300" * 500)


@pytest.mark.parametrize("kind", HIDDEN)
def test_a_long_run_of_marks_is_refused(kind: str) -> None:
    with pytest.raises(Refused) as refused:
        normalized("NFC", HIDDEN[kind])
    assert refused.value.reasons == ("marks",)
    assert normalized_if_safe("NFKC", HIDDEN[kind]) == HIDDEN[kind]


@pytest.mark.parametrize("text", ORDINARY)
def test_text_of_every_language_is_normalised(text: str) -> None:
    assert normalized("NFC", text) == unicodedata.normalize("NFC", text)
    assert normalized_if_safe("NFKC", text) == unicodedata.normalize("NFKC", text)


@given(st.text(st.sampled_from("aé中\u01d6\u0300\u0315\u0344\u0f71\u0f73\uff9e"), max_size=60))
def test_runs_are_those_of_the_decomposed_text(text: str) -> None:
    longest = run = 0
    for one in unicodedata.normalize("NFKD", text):
        run = run + 1 if unicodedata.combining(one) else 0
        longest = max(longest, run)
    assert is_stream_safe(text) == (longest <= MAX_NON_STARTERS)


def test_each_reader_refuses_marks_or_takes_the_text_for_unknown() -> None:
    with pytest.raises(Refused) as refused:
        complaint.read("quality", DESCENDING, DESCENDING[:4000], DESCENDING[:2400], DESCENDING[:6000], "en")
    assert [(one.where, one.reason) for one in refused.value.findings] == [
        (field, "marks") for field in ("description", "place", "contact", "code")
    ]
    for read in (clean_code, read_codes):
        with pytest.raises(Refused):
            read(DESCENDING[:10_000])
    assert (sheet_named(DESCENDING), span(DESCENDING), is_grade(DESCENDING)) == (None, None, False)
    assert (reference.read_number(DESCENDING), reference.read_key(DESCENDING)) == (None, "")


def test_forty_thousand_marks_take_no_processor_time() -> None:
    """A child that may use two seconds of the processor refuses a form's text fifty times; to sort it once takes three."""
    program = (
        "import resource; resource.setrlimit(resource.RLIMIT_CPU, (2 + int(resource.getrusage(0).ru_utime), 60))\n"
        "from zpcode.language.normalization import normalized_if_safe\n"
        "text = 'a' + ''.join(mark * 10_000 for mark in '\\u0345\\u035d\\u0315\\u0300')\n"
        "for _ in range(50): assert normalized_if_safe('NFC', text) is text\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
