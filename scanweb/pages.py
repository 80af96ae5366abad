"""The page: verdict first, then the four blocks every scan must show, then how it was verified.

Pages of codes with the same cards differ in history, path and time alone: the whole page is rendered once for each
set of cards and language, with slots for these, and a scan itself only joins bytes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from scanweb import wording
from scanweb.resolve import OK, Answer
from scanweb.texts import Texts
from zpcode.wire.card import BatchCard, Bilingual, LotCard, ProductCard
from zpcode.wire.verdict import Proof, Verdict

SLOT: Final = "\x00"
KEPT: Final = 2048
# Marks that reorder what stands around them (Unicode UAX 9): no registry text has a use for them.
_BIDI: Final = dict.fromkeys((0, 0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_SLOT: Final = Markup(SLOT)  # noqa: S704 - our own constant


def _plain(value: Any) -> Any:
    """Every value a template prints goes through here: no reordering marks, no slots of our own."""
    if not isinstance(value, str) or value is _SLOT or (value.isascii() and SLOT not in value):
        return value
    return value.translate(_BIDI)


class Fill:
    """Rendered text with slots, as pieces of bytes: those between the slots are the same objects every time.

    A page of ten kilobytes is never put together here: its pieces go to the socket as they are.
    """

    __slots__ = ("_pieces",)

    def __init__(self, rendered: str) -> None:
        self._pieces = [piece for text in rendered.split(SLOT) for piece in (text.encode(), b"")][:-1]

    def __call__(self, *values: bytes) -> list[bytes]:
        """The text in pieces, its slots filled. Raises ValueError where there are more or fewer values than slots."""
        filled = self._pieces.copy()
        filled[1::2] = values
        return filled


class Kept:
    """The last rendered pieces, each with the objects it was rendered from (so that no id is used twice)."""

    __slots__ = ("_pieces",)

    def __init__(self) -> None:
        self._pieces: OrderedDict[Hashable, tuple[tuple[object, ...], Any]] = OrderedDict()

    def get(self, sources: tuple[object, ...], key: Hashable, make: Callable[[], Any]) -> Any:
        """The piece for these objects and this key, made if it is not there."""
        full = (key, *map(id, sources))
        found = self._pieces.get(full)
        if found is None:
            found = self._pieces[full] = (sources, make())
            if len(self._pieces) > KEPT:
                self._pieces.popitem(last=False)
        return found[1]


class Pages:
    """Renders answers and the landing page. `base` is the address printed on codes."""

    def __init__(self, texts: dict[str, Texts], base: str) -> None:
        self.texts, self._base = texts, base
        self._environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_plain,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._frames = {
            (language, as_json): self._frame(t, as_json=as_json)
            for language, t in texts.items()
            for as_json in (False, True)
        }
        self._alike: dict[str, bytes] = {}
        self._kept = Kept()

    def landing(self, language: str) -> bytes:
        """The page with the form to type a code."""
        body: str = self._kept.get(
            (), ("landing", language), lambda: self._render("landing.html", self.texts[language])
        )
        return self._framed(language, body)

    def error(self, language: str) -> bytes:
        """The page for a defect of ours: it says nothing about the code."""
        t = self.texts[language]
        return self.notice(language, t("error.title"), t("error.text"))

    def notice(self, language: str, title: str, text: str) -> bytes:
        """A page of a title and a sentence."""
        return self._framed(language, f'<section class="block"><h1>{escape(title)}</h1><p>{escape(text)}</p></section>')

    def answer(self, answer: Answer, language: str, typed: str = "") -> list[bytes]:
        """The page for an answer, in pieces. `typed` is what was asked at /q, to be asked again in another language.

        Not-verified answers have one page for each language, whatever the cause: nothing typed comes back.
        """
        if answer.finding.verdict.http_status != OK:
            return [self._not_verified(answer, language)]
        t = self.texts[language]
        rendered = None if typed else answer.rendered
        page: Fill | None = None if rendered is None else rendered.get(language)
        if page is None:
            page = self._page(answer, t, typed)
            if rendered is not None:
                rendered[language] = page
        history = _escaped(wording.scanned(answer, t))
        return page(history, history, answer.path.encode(), t.moment(answer.at).encode())

    def _not_verified(self, answer: Answer, language: str) -> bytes:
        page = self._alike.get(language)
        if page is None:
            body = self._verdict(answer, self.texts[language]).replace(SLOT, "")
            page = self._alike[language] = self._framed(language, body)
        return page

    def _page(self, answer: Answer, t: Texts, typed: str) -> Fill:
        """A whole page with slots for the history (twice), the code's path and the time: all that is one code's own."""
        product = answer.evidence.product
        body = (
            self._verdict(answer, t)
            + ("" if product is None else self._product(answer, product, t))
            + self._code(answer, t)
        )
        query = f"code={quote(typed, safe='')}&amp;"
        frame = self._frame(t, query, as_json=True) if typed else self._frames[t.language, True]
        return Fill(frame.replace(SLOT, body))

    def _framed(self, language: str, body: str) -> bytes:
        return self._frames[language, False].replace(SLOT, body).encode()

    # Pieces -----------------------------------------------------------------------------------------

    def _frame(self, t: Texts, query: str = "", *, as_json: bool = False) -> str:
        """The page around its one slot. `query` goes before what the links on it add."""
        quoted = Markup(query)  # noqa: S704 - `answer` has quoted it
        languages = tuple(self.texts)
        return self._render("page.html", t, languages=languages, base=self._base, query=quoted, as_json=as_json)

    def _render(self, template: str, t: Texts, **values: object) -> str:
        return self._environment.get_template(template).render(
            t=t, slot=_SLOT, say=partial(_say, t), mark=_mark, link=_link, **values
        )

    def _verdict(self, answer: Answer, t: Texts) -> str:
        finding, evidence = answer.finding, answer.evidence
        expiry = wording.expiry(answer) if finding.verdict is Verdict.EXPIRED else ""
        key = ("verdict", t.language, finding.verdict, finding.scope, finding.old_stock, evidence.proof, expiry)

        def make() -> str:
            return self._render(
                "verdict.html",
                t,
                tone=finding.verdict.tone if finding.verdict.public != "not_verified" else "bad",
                title=wording.title(answer, t),
                meaning=wording.meaning(answer, t),
                advice=wording.advice(answer, t),
                standing=finding.standing,
                scope=finding.scope,
                reason="" if finding.standing is None else wording.reason(finding.standing, t),
            )

        text: str = self._kept.get((finding.standing,), key, make)
        return text

    def _product(self, answer: Answer, product: ProductCard, t: Texts) -> str:
        holder = answer.evidence.batch or answer.evidence.lot

        def make() -> str:
            image = product.image if product.image.startswith("https://") else ""
            goods = "" if holder is None else _goods(holder, t)
            page = self._render("product.html", t, product=product, recognition=product.recognition, image=image)
            return page.replace(SLOT, goods)

        text: str = self._kept.get((product, holder), ("product", t.language), make)
        return text

    def _code(self, answer: Answer, t: Texts) -> str:
        proof, level = answer.evidence.proof, answer.evidence.level
        known = proof is Proof.SEALED or (proof is Proof.ONLINE and answer.evidence.index is not None)
        shown = proof if known else Proof.MISSING  # a check nobody could look at proves nothing
        seal = None if answer.code is None else answer.code.seal
        key_id = "" if seal is None else seal.key_id

        def make() -> str:
            return self._render("code.html", t, proof=shown.value, level=level.value, key_id=key_id, item=level.is_item)

        text: str = self._kept.get((), ("code", t.language, shown, level, key_id), make)
        return text


@lru_cache(maxsize=8192)
def _escaped(text: str) -> bytes:
    return escape(text).encode()


def _say(t: Texts, text: Bilingual) -> Markup | str:
    """A registry text, with the language it is in."""
    shown = t.pick(text)
    return Markup('<bdi lang="{}">{}</bdi>').format(t.tag_of(text), _plain(shown)) if shown else ""


def _mark(text: str) -> Markup | str:
    """A number or a name that is not in any language, kept apart from the text around it."""
    return Markup("<bdi>{}</bdi>").format(_plain(text)) if text else ""


def _link(url: str, text: str = "") -> Markup | str:
    """A link to a web address; nothing where the address is of any other kind."""
    if not url.startswith(("https://", "http://")):
        return ""
    return Markup('<a href="{}" rel="noopener nofollow"><bdi>{}</bdi></a>').format(url, _plain(text or url))


def _goods(holder: BatchCard | LotCard, t: Texts) -> str:
    """Lot and dates of the goods, as rows of the first block."""
    rows = (
        ("product.lot", _mark(holder.lot)),
        ("product.made", t.date(holder.production_date)),
        ("product.expires", t.date(holder.expiry_date)),
    )
    return "".join(f"\n<dt>{escape(t(label))}</dt><dd>{escape(value)}</dd>" for label, value in rows if value)
