"""`make quick`: every test that needs no server, and all tests of the folders that differ from the main branch.

The tree of tests mirrors the tree of the source: a change under `zpcode/rules/status` is tested under
`tests/zpcode/rules/status`. Tests of a server start one, so only the folders that a change touches are run whole.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASES = ("origin/main", "main", "HEAD~1")


def touched_folders(paths: Iterable[str], root: Path = ROOT) -> set[str]:
    """The folders under tests/ that mirror the folders of changed files; a file of tests is its own folder's change."""
    folders = set()
    for path in map(Path, paths):
        mirrored = path.parent if path.parts[0] == "tests" else Path("tests") / path.parent
        if len(mirrored.parts) > 1 and any((root / mirrored).glob("test_*.py")):
            folders.add(str(mirrored))
    return folders


def changed_files() -> list[str]:
    """What differs from the branch this work began on, what is not committed included."""
    base = next((base for base in BASES if _git("rev-parse", "--verify", "--quiet", base)), "HEAD")
    start = _git("merge-base", base, "HEAD") or ["HEAD"]
    return [*_git("diff", "--name-only", start[0]), *_git("ls-files", "--others", "--exclude-standard")]


def _git(*words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.split() if done.returncode == 0 else []


def main() -> int:
    """Run both parts; the exit status of the first that fails. `--dist worksteal` hands servers to two workers only."""
    without_servers = int(pytest.main(["-q", "-n", "2", "-m", "not servers and not proof", "tests"]))
    folders = sorted(touched_folders(changed_files()))
    if without_servers or not folders:
        return without_servers
    touched = int(pytest.main(["-q", "-n", "2", "-m", "servers and not proof and not browser", *folders]))
    return 0 if touched == pytest.ExitCode.NO_TESTS_COLLECTED else touched


if __name__ == "__main__":
    sys.exit(main())
