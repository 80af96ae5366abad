"""The digests of complaints for the audit log: without the complainant's identity, and of no use once contact and photos are deleted.

A complaint, its contact and its photos have a digest each, because contact and photos are deleted 180 days after the end. State, region
and end are not in them: they follow from the steps, which are in the log one by one. The likeness is emptied after a day.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from zpcode.rules.complaints.complaint import Complaint
from zpcode.rules.record_digest import digest

COMPLAINT: Final = "complaint"
CONTACT: Final = "complaint-contact"
PHOTOS: Final = "complaint-photos"
SALT_BYTES: Final = 32


def complaint_digest(complaint: Complaint, follow_hash: bytes, ticket: bytes) -> str:
    """The digest of what a complaint says. The ticket has 128 random bits, so that nobody can guess the words from the digest."""
    form = complaint.form
    fields = {
        "number": complaint.number,
        "received_at": complaint.received_at,
        "kind": form.kind.value,
        "description": form.description,
        "place": form.place,
        "code": form.code,
        "language": form.language,
        "proof": complaint.proof.value,
        "gtin": complaint.gtin,
        "uscc": complaint.uscc,
        "over_budget": complaint.over_budget,
        "follow_hash": follow_hash.hex(),
        "ticket": ticket.hex(),
    }
    return digest(COMPLAINT, fields)


def contact_digest(number: str, contact: str, salt: bytes) -> str:
    """The digest of a contact, keyed with its salt (32 random bytes).

    There are few telephone numbers, so a digest without a key could be guessed. The salt is stored with the contact and deleted with
    it: then the digest says nothing any more.
    """
    return digest(CONTACT, {"number": number, "contact": hmac.digest(salt, contact.encode(), hashlib.sha256).hex()})


def photos_digest(number: str, hashes: Sequence[str]) -> str:
    """The digest of the photos of a complaint, from the SHA-256 (hex) of each in their order."""
    return digest(PHOTOS, {"number": number, "photos": list(hashes)})
