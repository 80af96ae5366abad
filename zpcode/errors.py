"""The errors that the services raise on purpose, as one tree.

    ZpError
    ├── MalformedCode       the text is not a 浙品码 code (wire)
    ├── Refused             a rule refuses it; with one or more findings
    │   ├── ImportRefused   a registry file has errors: every finding, nothing written
    │   └── Forbidden       the caller may not do this
    ├── NotFound            no such object, or outside the caller's reach
    ├── Conflict            it contradicts what is on record
    │   ├── ForeignFile     a code file on disk has other content; it is never overwritten
    │   └── LostFile        the code file of an issued batch cannot be written again as it was
    ├── KeyringError        the keyring or a key in it cannot be trusted
    ├── SignerError         the signer refused
    │   └── SignerUnavailable   the signer does not answer: try again later
    └── Unavailable         PostgreSQL or Redis does not answer
        └── DatabaseBehind  the database is older than what others have from it

People read the messages, so each is a `Text` in Chinese and English: what is wrong, where, and what to do. `slug` is the
stable name of the error in the problem document's `type` (RFC 9457). Any other exception that leaves a service (a
ValueError, a KeyError) is a defect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

RETRY_SECONDS: Final = 5
"""After how many seconds a client may try again what is unavailable or not ready: Retry-After (RFC 9110, 10.2.3)."""


@dataclass(frozen=True, slots=True)
class Text:
    """One sentence in Chinese and English, the languages of every message."""

    zh: str
    en: str

    def in_language(self, language: str) -> str:
        """The sentence for a BCP 47 tag: Chinese for `zh*`, English for everything else."""
        return self.zh if language.lower().startswith("zh") else self.en


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, and its place.

    `reason` is stable: programs may compare it. `where` names the place in the reader's terms: a JSON pointer, or sheet,
    row and column. `value` is the value at that place, cut to 80 characters; None if there was none.
    """

    reason: str
    text: Text
    where: str = ""
    value: str | None = None


class ZpError(Exception):
    """The root of the tree: the only error that the interfaces (API, portal, command line) turn into an answer."""

    slug: ClassVar[str] = "error"

    def __init__(self, text: Text, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(f"{text.en} / {text.zh}")
        self.text = text
        self.findings = findings


class MalformedCode(ZpError):
    """The text is not a 浙品码 code. `reason` is one of `zpcode.wire.link.REASONS`."""

    slug = "malformed-code"

    def __init__(self, reason: str, text: Text) -> None:
        super().__init__(text, (Finding(reason, text),))
        self.reason = reason


class Refused(ZpError):
    """A rule refuses the request. Each finding has the stable reason of its rule."""

    slug = "refused"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons, in the order in which the rules were checked."""
        return tuple(finding.reason for finding in self.findings)


class ImportRefused(Refused):
    """A registry file has errors. The findings are complete, and nothing was written."""

    slug = "import-refused"


class Forbidden(Refused):
    """The caller has a valid key but may not do this."""

    slug = "forbidden"


class NotFound(ZpError):
    """No such object, or one outside the caller's reach. The answer is the same in both cases."""

    slug = "not-found"


class Conflict(ZpError):
    """The request contradicts what is on record, for example by an idempotency key that was used before."""

    slug = "conflict"


class ForeignFile(Conflict):
    """A file in the folder of code files has a batch's name and other content. It is never overwritten."""


class LostFile(Conflict):
    """The file of an issued batch is gone or damaged, and the same bytes cannot be made again."""


class KeyringError(ZpError):
    """A keyring, or a key in it, cannot be trusted: bad root signature, mismatched halves, file mode."""

    slug = "keyring"


class SignerError(ZpError):
    """The signer refused: an unknown or retired key, or a request beyond its bounds."""

    slug = "signer-refused"


class SignerUnavailable(SignerError):
    """The signer does not answer. Batches that wait for it stay reserved."""

    slug = "signer-unavailable"


class Unavailable(ZpError):
    """PostgreSQL or Redis does not answer. Nothing was done."""

    slug = "unavailable"


class DatabaseBehind(Unavailable):
    """The database is older than what others have from it, as after a restore from a backup. Nothing was done.

    It stays so until the operator runs `zpcode recover` (docs/recovery.md).
    """

    slug = "database-behind"


@dataclass(slots=True)
class Findings:
    """Collects findings, so that a reader gets all of them at once."""

    items: list[Finding] = field(default_factory=list)

    def add(self, reason: str, zh: str, en: str, *, where: str = "", value: object = None) -> None:
        """Add a finding. `value` is cut to 80 characters."""
        shown = None if value is None else str(value)[:80]
        self.items.append(Finding(reason, Text(zh, en), where, shown))

    def refuse(self, zh: str, en: str) -> None:
        """Raise `Refused` if there is a finding."""
        if self.items:
            raise Refused(Text(zh, en), tuple(self.items))


def setting_faults(errors: Iterable[Mapping[str, Any]]) -> ValueError:
    """What is wrong with the settings of a process, from Pydantic's list of errors: each variable of the environment and why."""
    named = (
        (f"ZPCODE_{one['loc'][0].upper()}: " if one["loc"] else "", one["msg"].removeprefix("Value error, "))
        for one in errors
    )
    return ValueError("; ".join(name + fault for name, fault in named))


def refusal(reason: str, zh: str, en: str) -> Refused:
    """A refusal of one value. The caller that read the value adds its place."""
    return Refused(Text(zh, en), (Finding(reason, Text(zh, en)),))
