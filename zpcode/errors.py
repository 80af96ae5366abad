"""Every error this service raises on purpose, as one tree.

    ZpError
    ├── MalformedCode       the text is not a code of ours (wire)
    ├── Refused             a rule says no; carries one or more findings
    │   ├── ImportRefused   a registry file is not right: every finding, nothing written
    │   └── Forbidden       the caller may not do this
    ├── NotFound            no such thing, or not yours to see
    ├── Conflict            it contradicts what is already there
    ├── KeyringError        the keyring or a key in it cannot be trusted
    ├── SignerError         the signer refused
    │   └── SignerUnavailable   it does not answer: try again later
    └── Unavailable         PostgreSQL or Redis does not answer

A message is for the person who gets it, so it is always a `Text`: Chinese and English, saying what
was wrong, where, and what to do. `slug` is the stable name behind the problem document's `type`
(RFC 9457). Anything else that escapes a boundary (a ValueError, a KeyError) is a defect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence in the two languages every message has."""

    zh: str
    en: str

    def in_language(self, language: str) -> str:
        """The sentence for a BCP 47 tag: Chinese for `zh*`, English for everything else."""
        return self.zh if language.lower().startswith("zh") else self.en


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and the place it is wrong in.

    `where` names the place in the reader's terms: a JSON pointer, or sheet, row and column.
    `value` is what stood there, cut to 80 characters; None where there was nothing.
    """

    reason: str
    text: Text
    where: str = ""
    value: str | None = None


class ZpError(Exception):
    """The root: nothing else is caught at a boundary."""

    slug: ClassVar[str] = "error"

    def __init__(self, text: Text, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(f"{text.en} / {text.zh}")
        self.text = text
        self.findings = findings


class MalformedCode(ZpError):
    """The text is not a code of ours. `reason` is one of the words in `zpcode.wire.link.REASONS`."""

    slug = "malformed-code"

    def __init__(self, reason: str, text: Text) -> None:
        super().__init__(text, (Finding(reason, text),))
        self.reason = reason


class Refused(ZpError):
    """A rule says no. Each finding carries the rule's stable reason."""

    slug = "refused"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons, in the order the rules were asked."""
        return tuple(finding.reason for finding in self.findings)


class ImportRefused(Refused):
    """A registry file is not right. All findings of the file are here and nothing was written."""

    slug = "import-refused"


class Forbidden(Refused):
    """The caller is known and may not do this."""

    slug = "forbidden"


class NotFound(ZpError):
    """No such thing, or not one the caller may know of: the two are not told apart."""

    slug = "not-found"


class Conflict(ZpError):
    """The request contradicts what is already there, for example a reused idempotency key."""

    slug = "conflict"


class KeyringError(ZpError):
    """A keyring, or a key in it, cannot be trusted: bad root signature, mismatched halves, file mode."""

    slug = "keyring"


class SignerError(ZpError):
    """The signer refused: unknown or retired key, a request out of bounds."""

    slug = "signer-refused"


class SignerUnavailable(SignerError):
    """The signer does not answer. What waits for it stays reserved."""

    slug = "signer-unavailable"


class Unavailable(ZpError):
    """PostgreSQL or Redis does not answer; nothing was done."""

    slug = "unavailable"


@dataclass(slots=True)
class Findings:
    """Gathers findings so that a reader gets all of them in one run."""

    items: list[Finding] = field(default_factory=list)

    def add(self, reason: str, zh: str, en: str, *, where: str = "", value: object = None) -> None:
        """Note one thing that is wrong; `value` is shown cut to 80 characters."""
        shown = None if value is None else str(value)[:80]
        self.items.append(Finding(reason, Text(zh, en), where, shown))

    def refuse(self, zh: str, en: str) -> None:
        """Raise `Refused` if anything was found."""
        if self.items:
            raise Refused(Text(zh, en), tuple(self.items))


def refusal(reason: str, zh: str, en: str) -> Refused:
    """A refusal of one value; where it stands is added by whoever read it."""
    return Refused(Text(zh, en), (Finding(reason, Text(zh, en)),))
