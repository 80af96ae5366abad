"""Rate limits of complaints, of this process: for each address and its network, for each code, and in all.

The limits keep programs from filling the offices' lists, and must not keep people from complaining. So there are two kinds:

- Limits of the sender: an address (an IPv6 /64), and its network (a /24 or an IPv6 /48), which has eight times as much.
  Beyond them a form is refused.
- Limits of the subject: a code, and all complaints together. Anybody can use them up, to silence others. So beyond them
  photos are dropped first: the text is taken and marked, up to a bound for each day. Of these marked complaints an address
  may send two a day about a code, and its network eight: one sender cannot use up this bound as well. Whoever has many
  networks has them in few blocks (an IPv4 /16, an IPv6 /32). Blocks share each limit of a subject fairly
  (`zpcode.rules.complaints.shares`): a block that has sent little is served when others have used up their shares.

An item code is printed on one item, so few complaints about it are expected. A product or lot code is printed on many:
twenty times as many are allowed.

Beyond all these limits, those of the sender too, one text a day is taken about each genuine item. Nobody can use it up for
another item. Such texts have their own bound for each day, because an enterprise has as many genuine items as it makes.

A block has no limit of forms that are sent, wrong keys and photos: a carrier has a city's customers in one block. Places for
uploads and turns at the decoder are shared by blocks instead (`zpcode.portal.shell.forms`, `photo_queue`).

A complaint is charged only if all limits allow it, and gets its charge back if it turns out to be one that was received
before. A form with a mistake costs no complaint. Attempts (every form that is sent), wrong follow keys and photos have their
own limits; a photo that is refused costs as much as five. A link on a page of another site makes its visitors open a page
with a wrong key, so wrong keys take nothing from the forms that a visitor may send.
"""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Final, Generic, Protocol, TypeVar

from zpcode.ratelimit import RateLimit, block, network, payer
from zpcode.rules.complaints.complaint import MAX_PHOTOS
from zpcode.rules.complaints.shares import FairBound, SubjectOfBlock

HOUR: Final = 3600.0
DAY: Final = 24 * HOUR
BY_ADDRESS: Final = 10
BY_CODE: Final = 30
ATTEMPTS: Final = 6
"""Forms that may be sent, and wrong keys that may be tried, for each complaint that an address may make."""
SHARED: Final = 20
"""How many times the limit of an item code a product or lot code has."""
NETWORK_SHARE: Final = 8
"""How many times the limit of one address its network has."""
PHOTOS: Final = 2 * MAX_PHOTOS
"""Photos that are decoded, for each complaint that an address may make."""
REFUSED_PHOTO: Final = 5
"""The cost of a photo that is refused: it may have used the whole processor time of a decoder."""
ALL: Final = 1000
"""Complaints an hour with photos, about whatever: 0.5 GB of photos."""
MARKED_SHARE: Final = 10
"""How many marked complaints a day a code has for each of its limit of an hour."""
MARKED_ALL: Final = 20_000
MARKED_BY_ADDRESS: Final = 2
MARKED_BY_NETWORK: Final = 8
FIRST_ALL: Final = 20_000
"""First complaints a day about genuine items that are taken beyond every other limit."""
_EVERYTHING: Final = ""
_MAX_KEYS: Final = 20_000
_Key_contra = TypeVar("_Key_contra", contravariant=True)


class Exhausted(enum.StrEnum):
    """Whose limit is exhausted."""

    SENDER = "sender"
    PHOTOS = "photos"
    CODE = "code"
    ALL = "all"


class Admission(enum.Enum):
    """How a complaint is taken: as it is; only its text, marked; or so beyond all limits, as the first about a genuine item."""

    WHOLE = enum.auto()
    TEXT = enum.auto()
    FIRST = enum.auto()


class TooOften(Exception):
    """A limit is exhausted. After `seconds` (at least 1) one more is allowed."""

    def __init__(self, exhausted: Exhausted, seconds: int) -> None:
        super().__init__(exhausted, seconds)
        self.exhausted, self.seconds = exhausted, seconds


@dataclass(frozen=True, slots=True)
class LimitedComplaint:
    """What the limits go by: the sender's address, and the code (empty: about none), which may be that of one item.

    `genuine`: the item exists, and its code was verified.
    """

    address: str | None
    code: str
    item: bool
    genuine: bool = False


class _Limit(Protocol[_Key_contra]):
    def check(self, key: _Key_contra, now: float, /) -> float: ...
    def charge(self, key: _Key_contra, now: float, requests: int, /) -> None: ...


@dataclass(frozen=True, slots=True)
class _Charge(Generic[_Key_contra]):
    """A limit that a complaint is charged to, under its key."""

    limit: _Limit[_Key_contra]
    key: _Key_contra
    exhausted: Exhausted

    def check(self, now: float) -> float:
        """The seconds until the limit allows one more."""
        return self.limit.check(self.key, now)

    def charge(self, now: float, requests: int) -> None:
        """Take this many, or give them back."""
        self.limit.charge(self.key, now, requests)


_Charges = tuple[_Charge[bytes] | _Charge[SubjectOfBlock], ...]


class ComplaintRateLimits:
    """`address` complaints an hour for each address, `code` for each item code; 0: no limit. `clock` is monotonic, in seconds.

    Loopback and private addresses are never refused: they are proxies that do not pass on their clients' addresses.
    """

    def __init__(
        self, address: int = BY_ADDRESS, code: int = BY_CODE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._complaints, self._attempts, self._wrong_keys, self._photos = (
            _Senders(address * share, address * share * NETWORK_SHARE, HOUR)
            for share in (1, ATTEMPTS, ATTEMPTS, PHOTOS)
        )
        self._marked = _Senders(MARKED_BY_ADDRESS, MARKED_BY_NETWORK, DAY)
        daily = code * MARKED_SHARE
        self._items = {Admission.WHOLE: FairBound(code, HOUR), Admission.TEXT: FairBound(daily, DAY)}
        self._shared = {
            Admission.WHOLE: FairBound(code * SHARED, HOUR),
            Admission.TEXT: FairBound(daily * SHARED, DAY),
        }
        self._all = {
            Admission.WHOLE: FairBound(ALL, HOUR),
            Admission.TEXT: FairBound(MARKED_ALL, DAY),
            Admission.FIRST: FairBound(FIRST_ALL, DAY),
        }
        self._first = FairBound(1, DAY)
        self._lock = Lock()

    def spend_attempt(self, address: str | None) -> int:
        """Take one form that is sent: 0 if it is allowed, else the whole seconds until one is."""
        return self._spend(self._attempts, address)

    def spend_wrong_key(self, address: str | None) -> int:
        """Take one wrong follow key: 0 if it is allowed, else the whole seconds until one is."""
        return self._spend(self._wrong_keys, address)

    def _spend(self, limits: _Senders, address: str | None) -> int:
        with self._lock:
            now, charges = self._clock(), limits.charges(address)
            _, seconds = _first_exhausted(charges, now)
            if not seconds:
                _charge(charges, now)
            return seconds

    def check_photos(self, address: str | None) -> None:
        """Raise TooOften if no photo of this address may be decoded now. Takes nothing."""
        with self._lock:
            _, seconds = _first_exhausted(self._photos.charges(address), self._clock())
        if seconds:
            raise TooOften(Exhausted.PHOTOS, seconds)

    def charge_photo(self, address: str | None, *, refused: bool) -> None:
        """Take one photo that was decoded; one that was refused costs five."""
        with self._lock:
            _charge(self._photos.charges(address), self._clock(), REFUSED_PHOTO if refused else 1)

    def check_complaint(self, complaint: LimitedComplaint) -> Admission:
        """How a complaint would be taken. Takes nothing. Raises TooOften."""
        with self._lock:
            return self._admit(complaint, self._clock())

    def spend_complaint(self, complaint: LimitedComplaint) -> Admission:
        """Take a complaint. Raises TooOften; then nothing is taken."""
        with self._lock:
            now = self._clock()
            admission = self._admit(complaint, now)
            self._take(complaint, admission, now, 1)
            return admission

    def give_back(self, complaint: LimitedComplaint, admission: Admission) -> None:
        """Give back what `spend_complaint` took: the complaint was received before."""
        with self._lock:
            self._take(complaint, admission, self._clock(), -1)

    def _admit(self, complaint: LimitedComplaint, now: float) -> Admission:
        """The first way in which every limit allows the complaint. Raises TooOften: why its text is not taken."""
        ways = tuple(Admission) if complaint.genuine else (Admission.WHOLE, Admission.TEXT)
        refused = {}
        for way in ways:
            exhausted, seconds = _first_exhausted(self._charges(complaint, way), now)
            if exhausted is None:
                return way
            refused[way] = exhausted, seconds
        raise TooOften(refused[Admission.TEXT][0], min(seconds for _, seconds in refused.values()))

    def _take(self, complaint: LimitedComplaint, admission: Admission, now: float, complaints: int) -> None:
        _charge(self._charges(complaint, admission), now, complaints)
        if complaint.genuine and admission is not Admission.FIRST:
            self._first.charge(SubjectOfBlock(complaint.code, None), now, complaints)

    def _charges(self, complaint: LimitedComplaint, admission: Admission) -> _Charges:
        """What a complaint is charged to, so taken. The limits of the sender come first."""
        code, of_block = complaint.code, block(complaint.address)
        everything = _Charge(self._all[admission], SubjectOfBlock(_EVERYTHING, of_block), Exhausted.ALL)
        if admission is Admission.FIRST:
            return (_Charge(self._first, SubjectOfBlock(code, None), Exhausted.CODE), everything)
        senders = self._complaints.charges(complaint.address)
        if admission is Admission.TEXT:
            senders += self._marked.charges(complaint.address, code, Exhausted.CODE if code else Exhausted.ALL)
        if not code:
            return (*senders, everything)
        limits = self._items if complaint.item else self._shared
        return (*senders, _Charge(limits[admission], SubjectOfBlock(code, of_block), Exhausted.CODE), everything)


class _Senders:
    """The limits of addresses and of their networks: `address` requests each, `of_network` each."""

    def __init__(self, address: int, of_network: int, period: float) -> None:
        self._addresses, self._networks = (RateLimit(requests, _MAX_KEYS, period) for requests in (address, of_network))

    def charges(self, address: str | None, about: str = "", exhausted: Exhausted = Exhausted.SENDER) -> _Charges:
        """What is charged to an address; nothing to a proxy that does not pass on its clients' addresses."""
        key, wider, code = payer(address), network(address), about.encode("utf-8", "surrogatepass")
        if key is None or wider is None:
            return ()
        return (_Charge(self._addresses, key + code, exhausted), _Charge(self._networks, wider + code, exhausted))


def _first_exhausted(charges: _Charges, now: float) -> tuple[Exhausted | None, int]:
    """Whose limit is the first exhausted one, and the whole seconds until all limits allow one more."""
    waits = [(one.exhausted, math.ceil(one.check(now))) for one in charges]
    return next((whose for whose, seconds in waits if seconds), None), max((seconds for _, seconds in waits), default=0)


def _charge(charges: _Charges, now: float, requests: int = 1) -> None:
    for one in charges:
        one.charge(now, requests)
