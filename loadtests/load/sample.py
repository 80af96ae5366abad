"""The sample of codes that virtual consumers scan: a folder to be copied to every machine that makes load.

`codes.txt` holds sealed item codes as paths, one a line and all lines of equal length, so that it is mapped into
memory and any code is found at once; `sample.json` says which lines belong to which section, and holds the few
codes of other levels. `keys.json` (mode 0600, only where lines and regulators are played) holds API keys.
"""

from __future__ import annotations

import json
import mmap
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, Self

from zpcode.errors import Text, Unavailable

SECTIONS: Final = ("popular", "ordinary", "recall", "revocable")
OTHERS: Final = ("product_codes", "lot_codes", "compact_codes")
CODES: Final = "codes.txt"
CONTENTS: Final = "sample.json"
KEYS: Final = "keys.json"


@dataclass(frozen=True, slots=True)
class Contents:
    """What is in a sample. `width` is the bytes of a line with its end, `sections` maps a name to (first, count)."""

    width: int
    sections: dict[str, tuple[int, int]]
    recall_batch: int
    products: int
    codes: int
    product_codes: list[str] = field(default_factory=list)
    lot_codes: list[str] = field(default_factory=list)
    compact_codes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Keys:
    """API keys: one regulator's of the province, and of each packaging line its enterprise's with a GTIN it may order."""

    regulator: str
    lines: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """The keys of a sample. Raises Unavailable where there are none."""
        path = folder / KEYS
        if not path.exists():
            raise Unavailable(
                Text(f"{path} 不存在；先在 {folder} 备数", f"there is no {path}; seed {folder} first")
            )  # fmt: skip
        found = json.loads(path.read_text("utf-8"))
        return cls(found["regulator"], tuple((token, gtin) for token, gtin in found["lines"]))

    def write(self, folder: Path) -> None:
        """Keep them where only we can read them."""
        with os.fdopen(os.open(folder / KEYS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file)


class Sample:
    """A sample, opened. Raises Unavailable where the folder holds none, or a damaged one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            found: dict[str, Any] = json.loads((folder / CONTENTS).read_text("utf-8"))
            self.contents = Contents(**found)
            with (folder / CODES).open("rb") as file:
                self._codes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError, TypeError) as error:
            raise Unavailable(
                Text(
                    f"{folder} 中没有可用的样本：python -m loadtests seed",
                    f"there is no usable sample in {folder}: python -m loadtests seed",
                )
            ) from error
        if len(self._codes) != self.contents.width * sum(count for _, count in self.contents.sections.values()):
            raise Unavailable(Text(f"{folder / CODES} 不完整", f"{folder / CODES} is not whole"))

    def section(self, name: str) -> int:
        """How many codes a section has."""
        return self.contents.sections[name][1]

    def code(self, section: str, at: int) -> str:
        """One code of a section as a path, counted from 0."""
        first, count = self.contents.sections[section]
        if not 0 <= at < count:
            raise IndexError(f"{section} has {count} codes")
        start = (first + at) * self.contents.width
        return self._codes[start : start + self.contents.width - 1].decode("ascii")

    def draw(self, section: str, luck: Random) -> str:
        """Any code of a section."""
        return self.code(section, luck.randrange(self.section(section)))


def write(folder: Path, found: dict[str, list[str]], *, recall_batch: int, products: int, codes: int) -> None:
    """Write a sample: paths by section and by level, and the other members of `Contents`.

    All paths of sections have one length: a ValueError says that they have not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [path for name in SECTIONS for path in found[name]]
    width = len(paths[0]) + 1
    if any(len(path) + 1 != width for path in paths):
        raise ValueError("the codes of a sample have one length")
    sections, first = {}, 0
    for name in SECTIONS:
        sections[name] = (first, len(found[name]))
        first += len(found[name])
    (folder / CODES).write_text("".join(f"{path}\n" for path in paths), "ascii")
    contents = Contents(
        width, sections, recall_batch, products, codes,
        product_codes=found["product_codes"], lot_codes=found["lot_codes"], compact_codes=found["compact_codes"],
    )  # fmt: skip
    (folder / CONTENTS).write_text(json.dumps(asdict(contents), indent=1) + "\n", "utf-8")
