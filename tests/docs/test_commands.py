"""Every command line that a document shows exists: the command, its arguments and its options. Nothing is executed."""

from __future__ import annotations

import itertools
import re
import shlex
from pathlib import Path
from typing import Any, Final

import pytest
import typer
import typer.main

from keys.__main__ import app as keys
from zpcode.__main__ import app as zpcode

PROGRAMS: Final = {"zpcode": zpcode, "zpkeys": keys}
LINE: Final = re.compile(r"(?:sudo (?:-u \S+ )?)?(?:\S*/)?(zpcode|zpkeys) (.*)")
ENDS: Final = {"|", ">", ">>", "<", "||", ";", "&"}


def shown(text: str) -> list[str]:
    """The lines of fenced and of indented code, each with its continuations."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    indented = [line.strip() for line in re.findall(r"^    (?:.*\\\n)*.*", text, re.MULTILINE)]
    return "\n".join([*fenced, *indented]).replace("\\\n", " ").splitlines()


def command_lines(text: str) -> list[tuple[str, list[str]]]:
    """The program and the arguments of each line that calls one of ours, up to a pipe, a redirection or a comment."""
    lines = []
    for line in itertools.chain.from_iterable(line.split(" && ") for line in shown(text)):
        if call := LINE.fullmatch(line.strip()):
            words = shlex.split(re.sub(r"[][]", "", call[2]), comments=True)  # [-o FILE]
            lines.append((call[1], words[: next((at for at, word in enumerate(words) if word in ENDS), len(words))]))
    return lines


def parse(program: str, words: list[str]) -> None:
    """Raises a usage error where the program would."""
    command: Any = typer.main.get_command(PROGRAMS[program])
    context = command.context_class(command, info_name=program)
    while hasattr(command, "resolve_command"):
        _, command, words = command.resolve_command(context, list(words))
        context = command.context_class(command, parent=context, info_name=command.name)
    given, surplus, _ = command.make_parser(context).parse_args(list(words))
    if surplus:
        context.fail(f"{surplus} after the arguments")
    missing = [one.name for one in command.params if one.required and given.get(one.name) in {None, ()}]
    if missing:
        context.fail(f"{missing} missing")


def test_every_command_that_a_document_shows_exists(root: Path) -> None:
    pages = [*root.glob("*.md"), root / "loadtests" / "README.md", *(root / "docs").rglob("*.md")]
    calls = [(page.name, *call) for page in pages for call in command_lines(page.read_text("utf-8"))]
    assert len(calls) > 35
    wrong = []
    for page, program, words in calls:
        try:
            parse(program, words)
        except Exception as error:  # noqa: BLE001 - the classes of usage errors are private to Typer
            wrong.append((page, program, *words, str(error)))
    assert wrong == []


@pytest.mark.parametrize(
    "line",
    [
        "zpcode fcsk",
        "zpcode batches export",
        "zpcode fsck --mend",
        "zpcode audit verify now",
        "bin/zpcode import x --dry",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line: str) -> None:
    ((program, words),) = command_lines(f"```\n{line}   # so\n```")
    with pytest.raises(Exception):  # noqa: B017, PT011 - as above
        parse(program, words)


def names(program: typer.Typer) -> list[str]:
    """The commands at the top of a program, also those of the groups that it takes in without a name."""
    own = [one.name or one.callback.__name__ for one in program.registered_commands if one.callback]
    groups = [(group.typer_instance, group.name) for group in program.registered_groups if group.typer_instance]
    return own + [name for group, named in groups for name in ([named] if isinstance(named, str) else names(group))]


def test_no_two_commands_have_one_name() -> None:
    """Typer takes the last of two commands of one name, without a word: `restore` of a backup hid that of a decision."""
    assert {"restore", "restore-backup", "batches"} <= set(names(zpcode))
    for program in PROGRAMS.values():
        assert sorted(set(names(program))) == sorted(names(program))
