"""The help of every command is whole in a terminal of 80 columns: no text of an option is cut, in either language."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

import keys.__main__
import zpcode.__main__

PROGRAMS = {"zpcode": zpcode.__main__.app, "zpkeys": keys.__main__.app}


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that is no group, with its words on the command line."""
    for name, one in command.commands.items():
        if hasattr(one, "commands"):
            yield from _commands(one, (*path, name))
        else:
            yield (*path, name), one


COMMANDS = [one for name, app in PROGRAMS.items() for one in _commands(typer.main.get_command(app), (name,))]


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[" ".join(path) for path, _ in COMMANDS])
def test_no_text_of_an_option_is_cut(path: tuple[str, ...], command: Any) -> None:
    done = CliRunner().invoke(PROGRAMS[path[0]], [*path[1:], "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"})
    assert done.exit_code == 0
    shown = "".join(done.output.split())
    texts = [text for one in command.params if (text := getattr(one, "help", None))]
    assert [text for text in texts if "".join(text.split()) not in shown] == []
