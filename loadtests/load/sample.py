"""The codes that virtual consumers scan: a folder that is copied to every machine that makes load.

codes.txt    sealed item codes as paths, one in each line. All lines have the same length, so the file is mapped into
memory and the offset of a code is computed
sample.json  which lines belong to which section, and some codes of the other levels
keys.json    API keys for lines and regulators (mode 0600)
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
    """What a sample contains. `width` is the bytes of a line with its line break; `sections` maps a name to (first line, count)."""

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
    """API keys: of the province's regulator, and for each packaging line its enterprise's key and a GTIN that it may order."""

    regulator: str
    lines: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the keys of a sample. Raises Unavailable where it has none."""
        path = folder / KEYS
        if not path.exists():
            raise Unavailable(
                Text(f"{path} 不存在；先在 {folder} 备数", f"there is no {path}; seed {folder} first")
            )  # fmt: skip
        document = json.loads(path.read_text("utf-8"))
        return cls(document["regulator"], tuple((token, gtin) for token, gtin in document["lines"]))

    def write(self, folder: Path) -> None:
        """Write the keys into a file that only its owner can read."""
        with os.fdopen(os.open(folder / KEYS, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file)


class Sample:
    """An open sample. Raises Unavailable where the folder has no sample or an incomplete one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            document: dict[str, Any] = json.loads((folder / CONTENTS).read_text("utf-8"))
            self.contents = Contents(**document)
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
            raise Unavailable(Text(f"{folder / CODES} 不完整", f"{folder / CODES} is incomplete"))

    def section(self, name: str) -> int:
        """How many codes a section has."""
        return self.contents.sections[name][1]

    def code(self, section: str, at: int) -> str:
        """The path of a code of a section; `at` counts from 0. Raises IndexError."""
        first, count = self.contents.sections[section]
        if not 0 <= at < count:
            raise IndexError(f"{section} has {count} codes")
        start = (first + at) * self.contents.width
        return self._codes[start : start + self.contents.width - 1].decode("ascii")

    def draw(self, section: str, rng: Random) -> str:
        """A random code of a section."""
        return self.code(section, rng.randrange(self.section(section)))


def write(folder: Path, paths: dict[str, list[str]], *, recall_batch: int, products: int, codes: int) -> None:
    """Write a sample: paths by section and by level, and the other members of `Contents`.

    Raises ValueError where the paths of the sections differ in length.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = [path for name in SECTIONS for path in paths[name]]
    width = len(lines[0]) + 1
    if any(len(path) + 1 != width for path in lines):
        raise ValueError("the codes of a sample must all have one length")
    sections, first = {}, 0
    for name in SECTIONS:
        sections[name] = (first, len(paths[name]))
        first += len(paths[name])
    (folder / CODES).write_text("".join(f"{path}\n" for path in lines), "ascii")
    contents = Contents(
        width, sections, recall_batch, products, codes,
        product_codes=paths["product_codes"], lot_codes=paths["lot_codes"], compact_codes=paths["compact_codes"],
    )  # fmt: skip
    (folder / CONTENTS).write_text(json.dumps(asdict(contents), indent=1) + "\n", "utf-8")
