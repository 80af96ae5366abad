"""The page: verdict first, then the four blocks every scan must show, then how it was verified.

Pages of codes with the same cards differ in history, path and time alone: the whole page is rendered once for each
set of cards and language, with slots for these, and a scan itself only joins bytes.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from scanweb.page import assets, picture_urls, wording
from scanweb.page.chart import chart
from scanweb.page.identity import SiteIdentity
from scanweb.page.plain import plain
from scanweb.page.slots import SLOTS, Fill, RenderedPieces
from scanweb.scan.resolver import OK, ScanAnswer
from zpcode.language.messages import Messages
from zpcode.wire.card import NoticesCard, ProductCard
from zpcode.wire.verdict import Proof, Verdict
from zpcode.wire.vocabulary import Bilingual

HISTORY, PATH, PRINTED, TIME = map(Markup, SLOTS)
"""The slots of a page: what is a single code's own, in the order in which `Pages.answer` gives the values."""
LARGE: Final = "&size=large"
WHOLE: Final = 128
"""Whole pages at hand for answers that share nothing else: of items or ranges with a decision of their own."""


def _printable(value: Any) -> Any:
    """Every value a template prints goes through here; markup has been through it before."""
    return plain(value) if type(value) is str else value


class ScanPages:
    """Renders answers and the landing page. `official` says who we are, `authority` is the address complaints go to.

    Every page is there in each language and in two sizes; `large` is for eyes that want it (适老).
    """

    def __init__(self, texts: dict[str, Messages], official: SiteIdentity, authority: str = "") -> None:
        self.texts, self._official, self._authority = texts, official, authority
        self._environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_printable,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["dialled"] = _dialled
        self._alike: dict[tuple[str, bool], Fill] = {}
        self._kept, self._whole = RenderedPieces(), RenderedPieces(WHOLE)

    def landing(self, language: str, notices: NoticesCard | None, *, large: bool = False) -> Fill:
        """The page with the form to type a code and the public notices; None: they cannot be had now."""

        def make() -> Fill:
            body = self._render("landing.html", language, large=large, notices=notices)
            return self._framed(language, body, large=large, front=True)

        page: Fill = self._kept.get((notices,), ("landing", language, large), make)
        return page

    def error(self, language: str, *, large: bool = False) -> Fill:
        """The page for a defect of ours: it says nothing about the code."""
        t = self.texts[language]
        return self.notice(language, t("error.title"), t("error.text"), large=large)

    def notice(self, language: str, title: str, text: str, *, large: bool = False) -> Fill:
        """A page of a title and a sentence."""
        return self._framed(language, self._render("notice.html", language, title=title, text=text), large=large)

    def answer(
        self, answer: ScanAnswer, language: str, typed: str = "", *, large: bool = False
    ) -> tuple[Fill, tuple[bytes, ...]]:
        """The page for an answer, and what fills its slots. `typed` is what was asked at /q, to be asked again elsewhere.

        Not-verified answers have one page for each language, whatever the cause: nothing typed comes back.
        """
        if answer.finding.verdict.http_status != OK:
            return self._not_verified(answer, language, large=large), ()
        rendered = None if typed else answer.rendered
        key = (language, large)
        page: Fill | None = None if rendered is None else rendered.get(key)
        if page is None:
            page = self._page(answer, language, typed, large=large)
            if rendered is not None:
                rendered[key] = page
        t = self.texts[language]
        return page, (
            _escaped(wording.scanned(answer, t)),
            answer.path.encode(),
            answer.printed.encode(),
            t.moment(answer.at).encode(),
        )

    def _not_verified(self, answer: ScanAnswer, language: str, *, large: bool) -> Fill:
        page = self._alike.get((language, large))
        if page is None:
            body = self._verdict(answer, language, history="") + self._complain(language, "")
            page = self._alike[language, large] = self._framed(language, body, large=large)
        return page

    def _page(self, answer: ScanAnswer, language: str, typed: str, *, large: bool) -> Fill:
        """A whole page with slots for the history (twice), the code and the time: all that is one code's own."""
        product = answer.evidence.product
        pieces = (
            self._verdict(answer, language, history=HISTORY),
            self._tools(answer, language),
            "" if product is None else self._product(answer, product, language),
            self._code(answer, language),
            self._complain(language, PRINTED),
        )
        query = f"code={quote(typed, safe='')}&" if typed else ""

        def make() -> Fill:
            return self._framed(language, "".join(pieces), query, large=large, as_json=True)

        page: Fill = make() if query else self._whole.get(pieces, ("page", language, large), make)
        return page

    # Pieces -----------------------------------------------------------------------------------------

    def _framed(
        self,
        language: str,
        body: str,
        query: str = "",
        *,
        large: bool = False,
        as_json: bool = False,
        front: bool = False,
    ) -> Fill:
        """A page around its body. `query` goes before what the links on it add; only the `front` page may be indexed."""

        def make() -> str:
            return self._render(
                "page.html",
                language,
                body=_BODY,
                languages=tuple(self.texts),
                style=Markup(assets.STYLE),  # noqa: S704 - a file of ours
                script=assets.SCRIPT,
                size=LARGE if large else "",
                query=query,
                large=large,
                as_json=as_json,
                front=front,
            )

        frame: str = make() if query else self._kept.get((), ("frame", language, large, as_json, front), make)
        return Fill(frame.replace(_BODY, body))

    def _render(self, template: str, language: str, *, large: bool = False, **values: object) -> str:
        t = self.texts[language]
        return self._environment.get_template(template).render(
            t=t,
            say=partial(_say, t),
            plain=t.pick,
            mark=_mark,
            link=_link,
            official=self._official,
            large=large,
            **values,
        )

    def _verdict(self, answer: ScanAnswer, language: str, history: str) -> str:
        finding, evidence, t = answer.finding, answer.evidence, self.texts[language]
        expiry = wording.expiry(answer) if finding.verdict is Verdict.EXPIRED else ""
        told = finding.verdict.public != "not_verified"
        level = evidence.level.value if told else ""
        # The decision by its value: an item's own is another object with every scan.
        found = (finding.verdict, finding.standing, finding.scope, finding.old_stock, evidence.proof, expiry, level)
        key = ("verdict", language, *found)

        def make() -> str:
            return self._render(
                "verdict.html",
                language,
                tone=finding.verdict.tone if told else "bad",
                level=level,
                title=wording.title(answer, t),
                meaning=wording.meaning(answer, t),
                advice=wording.advice(answer, t),
                history=history,
                standing=finding.standing,
                scope=finding.scope,
                reason="" if finding.standing is None else wording.reason(finding.standing, t),
            )

        text: str = self._kept.get((), key, make)
        return text

    def _tools(self, answer: ScanAnswer, language: str) -> str:
        item = answer.evidence.level.is_item
        text: str = self._kept.get(
            (), ("tools", language, item), lambda: self._render("tools.html", language, item=item)
        )
        return text

    def _product(self, answer: ScanAnswer, product: ProductCard, language: str) -> str:
        holder, t = answer.evidence.batch or answer.evidence.lot, self.texts[language]

        def make() -> str:
            return self._render(
                "product.html",
                language,
                product=product,
                holder=holder,
                chart=partial(chart.chart, t=t),
                legend=partial(chart.legend, t),
                srcset=picture_urls.srcset,
                source=picture_urls.source,
            )

        text: str = self._kept.get((product, holder), ("product", language), make)
        return text

    def _code(self, answer: ScanAnswer, language: str) -> str:
        proof, level = answer.evidence.proof, answer.evidence.level
        known = proof is Proof.SEALED or (proof is Proof.ONLINE and answer.evidence.index is not None)
        shown = proof if known else Proof.MISSING  # a check nobody could look at proves nothing
        seal = None if answer.code is None else answer.code.seal
        key_id = "" if seal is None else seal.key_id
        revoked = answer.finding.verdict is Verdict.KEY_REVOKED  # by decision: the keyring need not know yet

        def make() -> str:
            return self._render(
                "code.html",
                language,
                proof=shown.value,
                level=level.value,
                key_id=key_id,
                revoked=revoked,
                verifier=assets.VERIFIER,
                item=level.is_item,
                path=PATH,
                printed=PRINTED,
                time=TIME,
            )

        text: str = self._kept.get((), ("code", language, shown, level, key_id, revoked), make)
        return text

    def _complain(self, language: str, printed: str) -> str:
        def make() -> str:
            return self._render("complain.html", language, authority=self._authority, printed=printed)

        text: str = self._kept.get((), ("complain", language, printed), make)
        return text


_BODY: Final = Markup("<!--body-->")


@lru_cache(maxsize=8192)
def _escaped(text: str) -> bytes:
    return escape(text).encode()


def _say(t: Messages, text: Bilingual) -> Markup | str:
    """A registry text, with the language it is in where that is not the page's."""
    shown, tag = plain(t.pick(text)), t.tag_of(text)
    if not shown:
        return ""
    return (
        Markup("<bdi>{}</bdi>").format(shown)
        if tag == t.language
        else Markup('<bdi lang="{}">{}</bdi>').format(tag, shown)
    )


def _mark(text: str) -> Markup | str:
    """A number or a name that is not in any language, kept apart from the text around it."""
    return Markup("<bdi>{}</bdi>").format(plain(text)) if text else ""


def _dialled(number: str) -> str:
    """A telephone number as a `tel` URI has it (RFC 3966): without the blanks that people read it by."""
    return "".join(sign for sign in number if sign in "+-0123456789")


def _link(url: str, text: str = "", kind: str = "") -> Markup | str:
    """A link to a web address; nothing where the address is of any other kind."""
    if not url.startswith(("https://", "http://")):
        return ""
    shown = Markup('<a href="{}" rel="noopener nofollow"{}><bdi>{}</bdi></a>')
    return shown.format(plain(url), Markup(' class="{}"').format(kind) if kind else "", plain(text or url))
