"""What the complaint pages do apart from HTTP: read a form, decode photos, record and follow. All of it may block."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock
from typing import Final

from keys.keyring import Keyring
from zpcode.errors import Finding, Refused, Text
from zpcode.portal.shell.forms import SubmittedForm
from zpcode.rules.complaints import complaint as rules
from zpcode.rules.complaints import reference
from zpcode.rules.complaints.complaint import Complaint
from zpcode.rules.complaints.reference import Fault
from zpcode.services import complaints
from zpcode.services.complaints import ComplaintReceipt, ComplaintSubject, SentComplaint
from zpcode.services.pictures.decoder import PictureDecoder
from zpcode.store.database.session import Engine
from zpcode.wire.card import picture_name

TICKET: Final = "ticket"
"""The hidden field that shows when a form was opened. What is wrong with it is no mistake of the reader's."""
HONEYPOT: Final = "website"
"""A field that people do not see: only programs fill it in."""
_FAULTS: Final = {
    Fault.FORGED: Text(
        "此表单不是由本页面生成的，请再提交一次", "this form did not come from this page; send it once more"
    ),
    Fault.EARLY: Text(
        "提交过快，请核对内容后再提交一次", "that was sent very quickly; look it over and send it once more"
    ),
    Fault.LATE: Text(
        "此表单打开已超过 24 小时，请再提交一次", "this form was opened more than 24 hours ago; send it once more"
    ),
}
_HONEYPOT: Final = Text(
    "请将标出的输入框留空，它只用于识别自动程序",
    "leave the marked field empty: it is there to tell programs from people",
)
_MANY: Final = Text(f"最多 {rules.MAX_PHOTOS} 张照片", f"at most {rules.MAX_PHOTOS} photos")


@dataclass
class Desk:
    """Receives complaints. `keyring` raises KeyringError, `clock` gives aware times, `decoder` decodes photos."""

    engine: Engine
    keyring: Callable[[], Keyring]
    clock: Callable[[], datetime]
    decoder: PictureDecoder
    _secret: bytes = field(default=b"", init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def secret(self) -> bytes:
        """The secret that tickets are made with, read once from the database. Raises Unavailable."""
        with self._lock:
            self._secret = self._secret or complaints.secret(self.engine)
            return self._secret

    def subject(self, code: str) -> ComplaintSubject:
        """What a code names. Raises Unavailable."""
        return complaints.about(self.engine, self.keyring, code)

    def ticket(self) -> str:
        """A ticket for a form that is shown now. Raises Unavailable."""
        nonce = secrets.token_bytes(reference.NONCE_BYTES)
        return reference.ticket(self.secret(), nonce, int(self.clock().timestamp()))

    def read(self, submitted: SubmittedForm, language: str) -> SentComplaint:
        """What was sent. Raises Refused with every finding except those of the photos."""
        findings: list[Finding] = []
        nonce = reference.read_ticket(self.secret(), submitted.get(TICKET), int(self.clock().timestamp()))
        if isinstance(nonce, Fault):
            findings.append(Finding(nonce.value, _FAULTS[nonce], TICKET))
        if submitted.get(HONEYPOT):
            findings.append(Finding("machine", _HONEYPOT, HONEYPOT))
        if len(submitted.files) > rules.MAX_PHOTOS:
            findings.append(Finding("photos", _MANY, "photos"))
        kind, description, place, contact, code = map(
            submitted.get, ("kind", "description", "place", "contact", "code")
        )
        form = None
        try:
            form = rules.read(kind, description, place, contact, code, language)
        except Refused as refused:
            findings.extend(refused.findings)
        if form is None or findings or isinstance(nonce, Fault):
            raise Refused(Text("请更正标出的各项", "please correct what is marked"), tuple(findings))
        return SentComplaint(form, nonce, tuple(hashlib.sha256(file).digest() for file in submitted.files))

    def decode_photo(self, file: bytes) -> bytes:
        """A photo encoded anew as JPEG, at most 960 pixels wide, without metadata. Raises Refused, Unavailable."""
        encoded = self.decoder.encode(file)
        picture = encoded.picture
        return encoded.files[picture_name(picture.digest, picture.widths[-1], "jpg")]

    def received_before(self, sent: SentComplaint) -> ComplaintReceipt | None:
        """The receipt of a form that was received before, or None. Raises Unavailable."""
        return complaints.received_before(self.engine, sent, now=self.clock())

    def receive(
        self, sent: SentComplaint, subject: ComplaintSubject, photos: Sequence[bytes], *, over_budget: bool
    ) -> ComplaintReceipt:
        """Record a complaint. Raises Unavailable."""
        return complaints.receive(self.engine, sent, subject, photos, now=self.clock(), over_budget=over_budget)

    def follow(self, number: str, key: str) -> Complaint:
        """A complaint, for the holder of its follow key. Raises NotFound, Unavailable."""
        return complaints.follow(self.engine, number, key)


def photo_findings(outcomes: Sequence[bytes | Exception]) -> Refused | None:
    """The refusal of a form with photos that were refused, each with its position; None if none was.

    Raises any other error of the decoder.
    """
    findings = []
    for position, outcome in enumerate(outcomes, 1):
        if isinstance(outcome, Refused):
            text = Text(f"第 {position} 张：{outcome.text.zh}", f"photo {position}: {outcome.text.en}")
            findings.append(Finding(outcome.reasons[0], text, "photos"))
        elif isinstance(outcome, Exception):
            raise outcome
    return Refused(Text("照片有问题", "something is wrong with the photos"), tuple(findings)) if findings else None
