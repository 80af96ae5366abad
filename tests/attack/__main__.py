"""Run the attacks against a new demo: `python -m tests.attack [NAME …]`. Exits with 1 if one got something."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

from tests.attack.catalogue import ATTACKS, Attack
from tests.attack.target import Target
from tests.e2e.demo_running import demo

SHOWN = 5
"""Breaches of one attack that are printed."""


def report(attack: Attack, target: Target) -> bool:
    """Run one attack and print its outcome; returns whether a try got something."""
    attempts = list(attack.run(target))
    breaches = [attempt for attempt in attempts if attempt.breach]
    outcome = f"{len(breaches)} of {len(attempts)} tries got through" if breaches else f"{len(attempts)} tries refused"
    _print(f"{'FAILED' if breaches else 'holds '}  {attack.attacker}: {attack.claim}  [{attack.name}: {outcome}]")
    for attempt in breaches[:SHOWN]:
        _print(f"          {attempt.name}: {attempt.breach}")
    return bool(breaches)


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(names: list[str]) -> int:
    """Run the attacks with these names, or all of them; returns the exit status."""
    if unknown := set(names) - {attack.name for attack in ATTACKS}:
        _print(f"no attack {', '.join(sorted(unknown))}; there are: {', '.join(attack.name for attack in ATTACKS)}")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the demo is stopped then too
    chosen = [attack for attack in ATTACKS if not names or attack.name in names]
    with tempfile.TemporaryDirectory(prefix="zpcode-attack-") as folder:
        Path(folder).chmod(0o711)  # PostgreSQL's user enters it
        with demo(Path(folder), 20401) as running:
            target = Target(running)
            got = [attack.name for attack in chosen if report(attack, target)]
    return 1 if got else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
