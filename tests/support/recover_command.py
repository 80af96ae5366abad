"""What `zpcode recover` prints, as a person uses it: the command that it offers with a digest."""

from __future__ import annotations


def offered(output: str, option: str) -> tuple[str, str, str]:
    """The arguments of the offered command with this option (`--apply` or `--confirm-all`) and its digest."""
    (line,) = [line for line in output.splitlines() if f"zpcode recover {option} " in line]
    return "recover", option, line.partition(f" {option} ")[2].split()[0]
