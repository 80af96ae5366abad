"""The file formats that a batch can be ordered in. A new format is one more line here (CONTRIBUTING.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from zpcode.errors import Text, Unavailable
from zpcode.exports.base import Export, FileLayout
from zpcode.exports.csv import Csv
from zpcode.rules.batches.batch import Batch

EXPORTS: Final[Mapping[str, Export]] = {export.name: export for export in (Csv(),)}
"""The formats by name."""


def export_of(batch: Batch) -> Export:
    """The format a batch was ordered in. Raises Unavailable where this version of the service does not have it."""
    export = EXPORTS.get(batch.format)
    if export is None:
        raise Unavailable(
            Text(
                f"本版本的服务不支持批次 {batch.number} 的文件格式 {batch.format[:80]}",
                f"this version of the service does not have the file format {batch.format[:80]} of batch {batch.number}",
            )
        )
    return export


def layout_of(batch: Batch) -> FileLayout:
    """A new layout of a batch's file, to write or read it once. Raises Unavailable as `export_of` does."""
    return export_of(batch).layout(batch)


def file_name(batch: Batch) -> str:
    """The name of a batch's file. Raises Unavailable as `export_of` does."""
    return f"batch-{batch.number}{export_of(batch).suffix}"
