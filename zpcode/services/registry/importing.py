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
from zpcode.services.registry.files import document, workbook
from zpcode.services.registry.product_cards import write_cards
from zpcode.store import audit
from zpcode.store.database.session import Connection, Engine, transaction
from zpcode.store.registry import records as store
from zpcode.wire import calendar

_AUDITED_CHANGES = 1000  # in full in the audit log; of the rest the file's hash tells
_LISTED: Final = frozenset(sheet.plural for sheet in SHEETS if sheet.listed)


def read_draft(data: bytes, today: date) -> tuple[reader.Draft, reader.ImportFindings]:
    """A registry file's records, and what is wrong with single cells. Raises ImportRefused where it is no registry file."""
    findings = reader.ImportFindings()
    try:
        form = document if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"{", b"["} else workbook
        rows = form.rows(data, findings)
    except Refused as refused:
        raise ImportRefused(refused.text, (*findings.all(), *refused.findings)) from refused
    draft = reader.draft(rows, findings, today)
    if not rows and not findings.items:
        findings.add("empty", "文件中没有任何记录", "there is not one record in the file")
    return draft, findings


def import_registry(
    engine: Engine,
    data: bytes,
    *,
    actor: str,
    now: datetime,
    dry_run: bool = False,
    pictures: import_.ImportPictures | None = None,
) -> ImportReport:
    """Bring in a registry file, .xlsx or JSON, with the pictures it names: everything or nothing.

    Checks it against itself and the registry, writes what is new or changed, an audit entry, and the cards
    of all products it reaches. With `dry_run` all is done and rolled back. Without `pictures` every picture it
    names has to be known already. Raises ImportRefused with every finding, Unavailable without a database, or
    without the place for pictures.
    """
    today = calendar.today(now)
    draft, findings = read_draft(data, today)
    prints = _prints(engine, draft, pictures, keep=not dry_run and not findings.items)
    with transaction(engine) as connection:
        store.lock_imports(connection)
        known = _known(connection, draft.registry)
        reader.complete(draft, known)
        import_.assign(draft, known, prints, findings)
        consistency.check(consistency.Checker(draft, known, merged(known, draft.registry), findings), today)
        if findings.items:
            raise _refused(findings)
        report = _write(connection, known, draft.registry, now, dry_run=dry_run)
        if dry_run:
            connection.rollback()
        elif report.changes or report.cards:
            digest = hashlib.sha256(data).hexdigest()
            audit.append(
                connection, at=now, actor=actor, action="registry.import", object_=digest, detail=_detail(report)
            )
    return report


def _prints(
    engine: Engine, draft: reader.Draft, source: import_.ImportPictures | None, *, keep: bool
) -> import_.Prints:
    """The file's pictures, encoded before the transaction, because encoding takes long and locks would wait."""
    names = import_.named(draft.registry.products.values())
    if source is None or not names:
        return import_.Prints()
    with transaction(engine) as connection:
        known = store.stored_pictures(connection, draft.registry.products)
    return import_.prints(names, source, known, keep=keep)


def _refused(findings: reader.ImportFindings) -> ImportRefused:
    count = len(findings.items) + findings.beyond
    return ImportRefused(
        Text(
            f"登记文件有 {count} 处问题，未写入任何内容；请逐条更正后重新导入",
            f"{count} findings in the registry file, nothing was written; correct them and import it again",
        ),
        findings.all(),
    )


def _known(connection: Connection, file: Registry) -> Registry:
    """What the registry holds of everything the file can touch: two rounds, however large the file."""
    gtins = {*file.products, *file.indicators, *file.commitments, *file.claims}
    gtins |= {one.gtin for one in file.recognitions.values()}
    gtins |= store.reached_by(connection, "recognitions", file.recognitions)
    gtins |= store.reached_by(connection, "certificates", file.certificates)
    return store.load(connection, gtins, file)


def _write(connection: Connection, known: Registry, file: Registry, now: datetime, *, dry_run: bool) -> ImportReport:
    counts, changed = changes(known, file)
    touched: defaultdict[str, set[str]] = defaultdict(set)
    for change in changed:
        touched[change.entity].add(change.key.partition("#")[0] if change.entity in _LISTED else change.key)
    former = [known.standards[one.key] for one in changed if one.entity == "standards" and one.kind == CHANGED]
    store.keep_versions(connection, former, now)
    for sheet in SHEETS:
        records: dict[str, Any] = getattr(file, sheet.plural)
        wanted = {key: record for key, record in records.items() if key in touched[sheet.plural]}
        if sheet.listed:
            store.replace_lists(connection, sheet.plural, wanted)
        else:
            store.save(connection, sheet.plural, wanted.values(), now)
    gtins = {gtin for plural, keys in touched.items() for gtin in store.reached_by(connection, plural, keys)}
    audit.lock(connection)  # before the card head, as everywhere: else an import and a decision wait for each other
    cards = write_cards(connection, gtins, calendar.today(now), dry_run=dry_run)
    if not dry_run:
        notices.write(connection)  # they name products, enterprises and standards
    return ImportReport(dry_run, counts, changed, cards)


def _detail(report: ImportReport) -> dict[str, Any]:
    shown: dict[str, Any] = plain(report)
    return {
        "counts": shown["counts"],
        "changes": shown["changes"][:_AUDITED_CHANGES],
        "changes_in_all": len(report.changes),
        "cards": len(report.cards),
    }
