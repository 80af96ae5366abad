"""Import of a registry file.

One transaction. The cards that the import changes are in the card table when it commits; copying them to Redis is the
caller's next step (`zpcode.projection.projector.catch_up`).
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from datetime import date, datetime
from typing import Any, Final

from zpcode.errors import ImportRefused, Refused, Text
from zpcode.rules.registry import consistency, reader
from zpcode.rules.registry.changes import CHANGED, ImportReport, changes, plain
from zpcode.rules.registry.layout import SHEETS
from zpcode.rules.registry.records import Registry, merged
from zpcode.services import notices
from zpcode.services.pictures import import_
from zpcode.services.records import kinds
from zpcode.services.registry import import_digests, product_cards
from zpcode.services.registry.files import document, workbook
from zpcode.services.registry.import_digests import ImportedRecords
from zpcode.store import audit, record_log
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.store.record_log import NewEntry
from zpcode.store.registry import records as store
from zpcode.wire import calendar

_AUDITED_CHANGES = 1000  # the audit log has this many changes in full, and the hash of the file
_LISTED: Final = frozenset(sheet.plural for sheet in SHEETS if sheet.listed)


def read_file(data: bytes, today: date) -> tuple[reader.FileRecords, reader.ImportFindings]:
    """The records of a registry file, and the findings about its cells. Raises ImportRefused for another kind of file."""
    findings = reader.ImportFindings()
    try:
        file_reader = document if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["} else workbook
        rows = file_reader.rows(data, findings)
    except Refused as refused:
        raise ImportRefused(refused.text, (*findings.all(), *refused.findings)) from refused
    file = reader.read_rows(rows, findings, today)
    if not rows and not findings.items:
        findings.add("empty", "文件中没有任何记录", "there are no records in the file")
    return file, findings


def import_registry(
    engine: Engine,
    data: bytes,
    *,
    actor: str,
    now: datetime,
    dry_run: bool = False,
    pictures: import_.ImportPictures | None = None,
) -> ImportReport:
    """Import a registry file (.xlsx or JSON) with the pictures that it names: everything or nothing.

    Checks the file and the resulting registry; then writes new and changed records, an audit entry, and the cards of all
    affected products. With `dry_run` everything is rolled back. Without `pictures` every picture that the file names must
    be stored already. Raises ImportRefused with every finding, and Unavailable if the database or the picture storage
    cannot be reached.
    """
    today = calendar.today(now)
    file, findings = read_file(data, today)
    encoded = _encode_pictures(engine, file, pictures, keep=not dry_run and not findings.items)
    with transaction(engine) as connection:
        store.lock_imports(connection)
        stored = _stored(connection, file.registry)
        reader.fill_missing_columns(file, stored)
        import_.assign(file, stored, encoded, findings)
        imported = ImportedRecords(file, stored, merged(stored, file.registry))
        consistency.check(consistency.Checker(file, stored, imported.after, findings), today)
        import_digests.check(connection, imported, findings)
        if findings.items:
            raise _refused(findings)
        report, records = _write(connection, imported, now, dry_run=dry_run)
        if dry_run:
            connection.rollback()
        elif report.changes or report.cards or records:
            digest = hashlib.sha256(data).hexdigest()
            record_log.append(connection, records, NewEntry(now, actor, "registry.import", digest, _detail(report)))
    return report


def _encode_pictures(
    engine: Engine, file: reader.FileRecords, pictures: import_.ImportPictures | None, *, keep: bool
) -> import_.EncodedPictures:
    """The pictures of the file. They are encoded before the transaction, because encoding takes long."""
    names = import_.file_names(file.registry.products.values())
    if pictures is None or not names:
        return import_.EncodedPictures()
    with transaction(engine) as connection:
        stored = store.stored_pictures(connection, file.registry.products)
    return import_.encode_pictures(names, pictures, stored, keep=keep)


def _refused(findings: reader.ImportFindings) -> ImportRefused:
    count = len(findings.items) + findings.beyond
    return ImportRefused(
        Text(
            f"登记文件有 {count} 处问题，未写入任何内容；请逐条更正后重新导入",
            f"{count} findings in the registry file, nothing was written; correct them and import it again",
        ),
        findings.all(),
    )


def _stored(connection: Connection, file: Registry) -> Registry:
    """The stored records that the file may affect. The number of statements does not depend on the size of the file."""
    gtins = {*file.products, *file.indicators, *file.commitments, *file.claims}
    gtins |= {one.gtin for one in file.recognitions.values()}
    gtins |= store.reached_by(connection, "recognitions", file.recognitions)
    gtins |= store.reached_by(connection, "certificates", file.certificates)
    return store.load(connection, gtins, file)


def _write(
    connection: Connection, imported: ImportedRecords, now: datetime, *, dry_run: bool
) -> tuple[ImportReport, dict[str, str | None]]:
    """Write the changed records and the cards that follow; return the report, and the digests for the audit log."""
    stored, file = imported.stored, imported.file.registry
    counts, changed = changes(stored, file)
    touched: defaultdict[str, set[str]] = defaultdict(set)
    for change in changed:
        touched[change.entity].add(change.key.partition("#")[0] if change.entity in _LISTED else change.key)
    former = [stored.standards[one.key] for one in changed if one.entity == "standards" and one.kind == CHANGED]
    store.keep_versions(connection, former, now)
    for sheet in SHEETS:
        records: dict[str, Any] = getattr(file, sheet.plural)
        changed_records = {key: record for key, record in records.items() if key in touched[sheet.plural]}
        if sheet.listed:
            store.replace_lists(connection, sheet.plural, changed_records)
        else:
            store.save(connection, sheet.plural, changed_records.values(), now)
    gtins = {gtin for plural, keys in touched.items() for gtin in store.reached_by(connection, plural, keys)}
    audit.lock(connection)  # before the card head, as everywhere; otherwise an import and a decision could deadlock
    digests = import_digests.digests(imported)
    day = calendar.today(now)
    cards = product_cards.write_cards(connection, gtins, day, dry_run=dry_run, release=True, written=digests.keys())
    if not dry_run:
        notices.write(connection)  # notices name products, enterprises and standards
    report = ImportReport(dry_run, counts, changed, cards.written, cards.withheld)
    records = import_digests.to_log(connection, imported, digests)
    return report, records | dict.fromkeys(map(kinds.kept_name, cards.released))


def _detail(report: ImportReport) -> dict[str, Any]:
    shown: dict[str, Any] = plain(report)
    return {
        "counts": shown["counts"],
        "changes": shown["changes"][:_AUDITED_CHANGES],
        "changes_in_all": len(report.changes),
        "cards": len(report.cards),
    }
