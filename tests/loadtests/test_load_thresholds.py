"""What decides whether a load test has passed: figures, thresholds, and the two findings that no threshold allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtests.load import thresholds
from loadtests.load.catalogue import PROFILES, find
from loadtests.load.figures import CONSUMER, FIGURES, GUESSER, SHOWN, Run, figures
from loadtests.load.tally import Tally, percentile, step_of, time_of
from loadtests.users.verdicts import Answer, ScanKind, is_right, kind_during, read_answer
from zpcode.errors import Refused


def file(folder: Path, text: str) -> Path:
    path = folder / "thresholds.toml"
    path.write_text(text, "utf-8")
    return path


def tally(*answers: tuple[str, ScanKind, Answer, float]) -> Tally:
    made = Tally()
    for at, (role, kind, answer, milliseconds) in enumerate(answers):
        right = is_right(kind, answer, may_be_limited=role == GUESSER)
        made.record(role, kind, answer, at=1_800_000_000 + at, milliseconds=milliseconds, right=right)
    return made


def run(planned: float = 4.0) -> Run:
    return Run(seconds=2.0, planned=planned, dropped=0, crashes=0)


def test_every_profile_has_thresholds_of_figures_that_exist() -> None:
    for name in PROFILES:
        assert len(thresholds.read(thresholds.DEFAULT, name)) > len(thresholds.ALWAYS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[other]\np99_ms_max = 1\n", "no_thresholds"),
        ("[ordinary]\n", "no_thresholds"),
        ("[ordinary]\np98_ms_max = 1\n", "unknown"),
        ("[ordinary]\np99_ms = 1\n", "unknown"),
        ("[ordinary]\nwithdrawn_shown_good_max = 5\n", "unknown"),
        ("[ordinary]\np99_ms_max = true\n", "number"),
        ("[ordinary]\np99_ms_max = '1'\n", "number"),
    ],
)
def test_a_file_that_cannot_judge_is_an_error(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(Refused) as refused:
        thresholds.read(file(tmp_path, text), "ordinary")
    assert refused.value.reasons == (reason,)


def test_a_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="cannot be read"):
        thresholds.read(file(tmp_path, "[ordinary"), "ordinary")
    with pytest.raises(Refused, match="cannot be read"):
        thresholds.read(tmp_path / "nowhere.toml", "ordinary")


def test_a_threshold_whose_figure_was_not_measured_is_no_pass(tmp_path: Path) -> None:
    limits = thresholds.read(file(tmp_path, "[ordinary]\nseen_p99_ms_max = 100\nscans_min = 1\n"), "ordinary")
    measured = figures(tally((CONSUMER, ScanKind.GENUINE, Answer.GOOD, 1.0)), run())
    with pytest.raises(Refused, match="seen_p99_ms_max"):
        thresholds.judge(limits, measured)


def test_figures_are_held_against_least_and_most(tmp_path: Path) -> None:
    limits = thresholds.read(file(tmp_path, "[ordinary]\np99_ms_max = 10\nscans_min = 3\n"), "ordinary")
    slow = figures(tally(*[(CONSUMER, ScanKind.GENUINE, Answer.GOOD, 20.0)] * 3), run())
    few = figures(tally(*[(CONSUMER, ScanKind.GENUINE, Answer.GOOD, 9.0)] * 2), run())
    assert [one.name for one in thresholds.judge(limits, slow) if not one.met] == ["p99_ms"]
    assert [one.name for one in thresholds.judge(limits, few) if not one.met] == ["scans"]


@pytest.mark.parametrize(
    ("answer", "figure"),
    [
        ((CONSUMER, ScanKind.WITHDRAWN, Answer.GOOD, 1.0), "withdrawn_shown_good"),
        ((GUESSER, ScanKind.FORGED, Answer.GOOD, 1.0), "forged_accepted"),
        ((GUESSER, ScanKind.FORGED, Answer.CAUTION, 1.0), "forged_accepted"),
        ((CONSUMER, ScanKind.UNSEALED, Answer.GOOD, 1.0), "forged_accepted"),
    ],
)
def test_a_grave_finding_fails_every_run(
    tmp_path: Path, answer: tuple[str, ScanKind, Answer, float], figure: str
) -> None:  # fmt: skip
    limits = thresholds.read(file(tmp_path, "[ordinary]\nguesses_min = 0\n"), "ordinary")
    judged = thresholds.judge(limits, figures(tally(answer), run()))
    assert [one.name for one in judged if not one.met] == [figure]


def test_a_virtual_user_that_broke_fails_the_run(tmp_path: Path) -> None:
    limits = thresholds.read(file(tmp_path, "[ordinary]\nguesses_min = 0\n"), "ordinary")
    judged = thresholds.judge(limits, figures(Tally(), Run(1.0, 1.0, None, crashes=1)))
    assert [one.name for one in judged if not one.met] == ["crashes"]


def test_figures_have_names_people_can_read_and_none_is_forgotten() -> None:
    assert set(figures(Tally(), run())) == set(FIGURES)


def test_shares_are_of_those_who_were_asked_about() -> None:
    made = tally(
        (CONSUMER, ScanKind.GENUINE, Answer.GOOD, 1.0),
        (CONSUMER, ScanKind.GENUINE, Answer.TOO_MANY, 1.0),
        (GUESSER, ScanKind.FORGED, Answer.TOO_MANY, 1.0),
        (SHOWN, ScanKind.WITHDRAWN, Answer.BAD, 30.0),
    )
    measured = figures(made, run())
    assert measured["too_many_share"] == 0.5
    assert measured["failure_share"] == 0.5
    assert measured["guesses_refused_share"] == 1.0
    assert measured["rate_share"] == 0.5
    assert measured["decisions"] == 1
    assert measured["line_failure_share"] is None


def test_answers_are_read_as_a_person_reads_them() -> None:
    page = b'<main><section class="verdict bad" aria-labelledby="verdict">'
    assert read_answer("GET", 200, page, as_json=False) is Answer.BAD
    assert read_answer("GET", 200, b'{"tone": "good"}', as_json=True) is Answer.GOOD
    assert read_answer("GET", 200, b"<h1>Welcome to nginx</h1>", as_json=False) is Answer.UNREADABLE
    assert read_answer("GET", 200, b"[]", as_json=True) is Answer.UNREADABLE
    assert read_answer("HEAD", 200, b"", as_json=False) is Answer.HEADERS
    assert read_answer("GET", 404, page, as_json=False) is Answer.NOT_VERIFIED
    assert read_answer("GET", 429, b"", as_json=False) is Answer.TOO_MANY
    assert read_answer("GET", 503, page, as_json=False) is Answer.ERROR
    assert read_answer("GET", 0, b"", as_json=False) is Answer.NOTHING


def test_what_changes_while_it_is_asked_may_be_answered_either_way() -> None:
    assert kind_during(ScanKind.GENUINE, ScanKind.GENUINE) is ScanKind.GENUINE
    assert kind_during(ScanKind.GENUINE, ScanKind.WITHDRAWN) is ScanKind.CHANGING
    assert is_right(ScanKind.CHANGING, Answer.GOOD)
    assert is_right(ScanKind.CHANGING, Answer.BAD)
    assert not is_right(ScanKind.WITHDRAWN, Answer.GOOD)
    assert not is_right(ScanKind.GENUINE, Answer.TOO_MANY)


def test_tallies_of_several_processes_add_up() -> None:
    parts = [
        tally((CONSUMER, ScanKind.GENUINE, Answer.GOOD, 5.0), (CONSUMER, ScanKind.GENUINE, Answer.ERROR, 80.0))
        for _ in "ab"
    ]
    whole = Tally()
    for part in parts:
        whole.add(part.take())
        whole.add(part.take())  # what was given away is not given twice
        assert part.count(CONSUMER) == 0
    assert whole.count(CONSUMER) == 4
    assert whole.failures(CONSUMER) == 2
    assert [(sum(times.values()), failed) for _, times, failed in whole.seconds(CONSUMER)] == [(2, 0), (2, 2)]


def test_percentiles_are_right_to_two_per_cent() -> None:
    made = tally(*[(CONSUMER, ScanKind.GENUINE, Answer.GOOD, float(number)) for number in range(1, 1001)])
    for share, exact in ((0.5, 500), (0.95, 950), (0.99, 990), (1.0, 1000)):
        assert percentile(made.steps(CONSUMER), share) == pytest.approx(exact, rel=0.021)
    assert percentile(Tally().steps(CONSUMER), 0.5) is None
    assert time_of(step_of(0.0)) == pytest.approx(0.1)


def test_profiles_are_found_by_both_names() -> None:
    assert find("双11") is find("double11") is PROFILES["double11"]
    assert find("nobody") is None
