"""What the pages of complaints work with, and what each of them does apart from HTTP. Everything here may block."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from threading import Lock

from keys.keyring import Keyring
from zpcode.errors import Finding, Refused, Text
from zpcode.portal.shell.forms import Sent
from zpcode.rules.complaints import complaint as rules
from zpcode.rules.complaints import reference
from zpcode.rules.complaints.complaint import Complaint
from zpcode.rules.complaints.reference import Fault
from zpcode.services import complaints
from zpcode.services.complaints import ComplaintSubject, Received
from zpcode.services.pictures.decoder import PictureDecoder
from zpcode.store.database.session import Engine
from zpcode.wire.card import picture_name

HONEYPOT = "website"
"""A field nobody sees and programs fill in."""
_FAULTS = {
    Fault.FORGED: Text(
        "这张表单不是本页发出的，请再按一次提交", "this form did not come from this page; send it once more"
    ),
    Fault.EARLY: Text(
        "提交得太快了，请核对后再按一次提交", "that was sent very quickly; look it over and send it once more"
    ),
    Fault.LATE: Text(
        "这张表单打开已超过 24 小时，请再按一次提交", "this form was opened more than 24 hours ago; send it once more"
    ),
}
_MACHINE = Text(
    "请把标出的输入框留空，它只用来识别程序", "leave the marked field empty: it is there to tell programs from people"
)
_MANY = Text(f"最多 {rules.MAX_PHOTOS} 张照片", f"at most {rules.MAX_PHOTOS} photos")


@dataclass
class Desk:
    """Where complaints come in. `keyring` raises KeyringError, `clock` gives aware times, `darkroom` develops photos."""

    engine: Engine
    keyring: Callable[[], Keyring]
    clock: Callable[[], datetime]
    darkroom: PictureDecoder
    _secret: bytes = field(default=b"", init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)

    def secret(self) -> bytes:
        """What tickets are made with; asked for once. Raises Unavailable."""
        with self._lock:
            self._secret = self._secret or complaints.secret(self.engine)
            return self._secret

    def about(self, code: str) -> ComplaintSubject:
        """What a code names. Raises Unavailable."""
        return complaints.about(self.engine, self.keyring, code)

    def ticket(self) -> str:
        """A ticket for a form that is about to be shown. Raises Unavailable."""
        nonce = secrets.token_bytes(reference.NONCE_BYTES)
        return reference.ticket(self.secret(), nonce, int(self.clock().timestamp()))

    def read(self, sent: Sent, language: str) -> tuple[rules.ComplaintForm, bytes]:
        """What a form says, and its ticket's nonce. Raises Refused with every finding but those of the photos."""
        found: list[Finding] = []
        nonce = reference.read_ticket(self.secret(), sent.get("ticket"), int(self.clock().timestamp()))
        if isinstance(nonce, Fault):
            found.append(Finding(nonce.value, _FAULTS[nonce], "ticket"))
        if sent.get(HONEYPOT):
            found.append(Finding("machine", _MACHINE, HONEYPOT))
        if len(sent.files) > rules.MAX_PHOTOS:
            found.append(Finding("photos", _MANY, "photos"))
        kind, description, place, contact, code = map(sent.get, ("kind", "description", "place", "contact", "code"))
        told = None
        try:
            told = rules.read(kind, description, place, contact, code, language)
        except Refused as refused:
            found.extend(refused.findings)
        if told is None or found or isinstance(nonce, Fault):
            raise Refused(Text("请更正标出的各项", "please correct what is marked"), tuple(found))
        return told, nonce

    def develop(self, files: Sequence[bytes]) -> tuple[bytes, ...]:
        """Photos as JPEG without anything but their pixels, at most 960 wide. Raises Refused, Unavailable."""
        photos, found = [], []
        for place, file in enumerate(files, 1):
            try:
                developed = self.darkroom.develop(file)
            except Refused as refused:
                text = Text(f"第 {place} 张：{refused.text.zh}", f"photo {place}: {refused.text.en}")
                found.append(Finding(refused.reasons[0], text, "photos"))
            else:
                picture = developed.picture
                photos.append(developed.files[picture_name(picture.digest, picture.widths[-1], "jpg")])
        if found:
            raise Refused(Text("照片有问题", "something is wrong with the photos"), tuple(found))
        return tuple(photos)

    def receive(
        self, told: rules.ComplaintForm, named: ComplaintSubject, photos: Sequence[bytes], ticket: bytes
    ) -> Received:
        """Record a complaint. Raises Unavailable."""
        return complaints.receive(self.engine, told, named, photos, ticket=ticket, now=self.clock())

    def follow(self, number: str, key: str) -> Complaint:
        """A complaint for whoever holds its key. Raises NotFound, Unavailable."""
        return complaints.follow(self.engine, number, key)
