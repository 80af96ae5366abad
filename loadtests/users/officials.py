"""Virtual users who talk to the authority's API as well: packaging lines, and a regulator. Imports Locust, like `users`."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from typing import Any, ClassVar, Final

import gevent
from locust.contrib.fasthttp import ResponseContextManager

from loadtests.load import figures
from loadtests.users.consumers import Somebody, report
from loadtests.users.ledger import HEARD_SECONDS, RECALLED
from loadtests.users.verdicts import Said, What
from zpcode.wire.link import path_of

_DECISION_SECONDS: Final = 10.0
_ISSUE_SECONDS: Final = 60.0
LAW: Final = "《消费品召回管理暂行规定》第十九条"


class Official(Somebody):
    """Whoever talks to the authority's API with a key. `token` is the key."""

    abstract = True
    token = ""

    def ask(self, method: str, path: str, name: str, body: dict[str, Any] | None = None,
            headers: dict[str, str] | None = None) -> ResponseContextManager:  # fmt: skip
        """One request to the API; any answer but 2xx is a failure of the run."""
        sent = {"Authorization": f"Bearer {self.token}"} | (headers or {})
        with self.client.request(method, self.stage.api + path, name=name, json=body, headers=sent,
                                 catch_response=True) as found:  # fmt: skip
            answer: ResponseContextManager = found
            right = 200 <= answer.status_code < 300
            report(answer, right, f"{answer.status_code} {(answer.text or '')[:300]}")
        told = Said.GOOD if right else Said.ERROR
        self.stage.note(self.who, name, told, answer.request_meta["response_time"], right=right)
        return answer


class Line(Official):
    """A packaging line: orders a batch, waits for its file, fetches and checks it, and scans what it has printed."""

    abstract = True
    who = figures.LINE
    pace = 0.2
    quantity: ClassVar[int] = 200

    def on_start(self) -> None:
        """Belong to one of the enterprises that have keys."""
        super().on_start()
        self.token, self.gtin = self.luck.choice(self.stage.keys.lines)

    def pack(self) -> None:
        """One batch, from the order to the labels."""
        began = time.monotonic()
        order = {"level": "item", "gtin": self.gtin, "quantity": self.quantity, "lot": f"L{self.luck.randrange(10**9)}"}
        unique = {"Idempotency-Key": f"load-line-{self.luck.getrandbits(96):x}"}
        batch = _read(self.ask("POST", "/v1/batches", "order batch", order, unique))
        while batch and batch["file"] is None and time.monotonic() - began < _ISSUE_SECONDS:
            gevent.sleep(0.25)
            batch = _read(self.ask("GET", f"/v1/batches/{batch['number']}", "look at batch"))
        if not batch or batch["file"] is None:
            self.stage.note(self.who, "file", Said.NOTHING, (time.monotonic() - began) * 1000, right=False)
            return
        file = self.ask("GET", batch["file"]["href"], "fetch codes").content or b""
        self.stage.note(figures.ISSUE, "batch", Said.GOOD, (time.monotonic() - began) * 1000, right=True)
        self._check(file, batch["file"]["sha256"])

    def _check(self, file: bytes, sha256: str) -> None:
        """The file is whole and as it was announced, and its codes are good from the first moment."""
        links = [row["url"] for row in csv.DictReader(io.StringIO(file.decode("ascii", "replace")))]
        whole = hashlib.sha256(file).hexdigest() == sha256 and len(set(links)) == self.quantity
        self.stage.note(self.who, "file", Said.GOOD if whole else Said.BAD, 0.0, right=whole)
        for link in self.luck.sample(links, min(5, len(links))):
            self.scan(path_of(link), name="scan what was just packed")


class Regulator(Official):
    """The province's office: decides about codes, watches that scans show it, and takes it back."""

    abstract = True
    who = figures.REGULATOR
    pace = 5.0

    def on_start(self) -> None:
        """Take the office's key."""
        super().on_start()
        self.token = self.stage.keys.regulator

    def decide(self, scope: str, target: str, action: str, reason: str, **more: Any) -> bool:
        """One decision; whether it was taken."""
        body = {"scope": scope, "target": target, "action": action, "reason": reason, **more}
        return 200 <= self.ask("POST", "/v1/status-changes", f"{action} {scope}", body).status_code < 300

    def watch(self, path: str, wanted: Said) -> bool:
        """Scan a code until it shows a decision just made, and note how long that took."""
        began = time.monotonic()
        while time.monotonic() - began < _DECISION_SECONDS:
            if self.scan(path, what=What.CHANGING, name="scan after a decision") is wanted:
                self.stage.note(figures.SEEN, wanted, wanted, (time.monotonic() - began) * 1000, right=True)
                return True
        self.stage.note(self.who, "seen", Said.NOTHING, _DECISION_SECONDS * 1000, right=False)
        return False

    def tell(self, subject: str, what: What) -> None:
        """Let every virtual consumer know, and wait until they do."""
        self.stage.tell(subject, what)
        gevent.sleep(HEARD_SECONDS)

    def revoke_one(self) -> None:
        """Revoke a code, see that it shows and goes on showing, restore it, and see that too."""
        path = self.stage.sample.draw("revocable", self.luck)
        self.tell(path, What.CHANGING)
        if self.decide("code", path, "revoke", "labelling-error") and self.watch(path, Said.BAD):
            self.stage.tell(path, What.WITHDRAWN)
            for _ in range(5):
                self.scan(path, name="scan revoked")
                gevent.sleep(0.2)
        self.tell(path, What.CHANGING)
        if self.decide("code", path, "restore", "entered-in-error") and self.watch(path, Said.GOOD):
            self.tell(path, What.GENUINE)

    def open_batch(self, batch: int, path: str) -> None:
        """See that the batch to be recalled is good: an earlier run has left it recalled."""
        told = self.scan(path, what=What.CHANGING, name="scan before the news")
        if told is not Said.GOOD:
            self.decide("batch", str(batch), "restore", "entered-in-error")
            self.watch(path, Said.GOOD)
        self.tell(RECALLED, What.GENUINE)

    def recall(self, batch: int, path: str) -> None:
        """Recall the batch in front of everybody."""
        self.tell(RECALLED, What.CHANGING)
        note = {"zh": "请停止使用并联系经销商", "en": "Stop using it and contact the seller"}
        if self.decide("batch", str(batch), "recall", "safety-recall", legal_basis=LAW, note=note) and self.watch(
            path, Said.BAD
        ):
            self.stage.tell(RECALLED, What.WITHDRAWN)


def _read(answer: ResponseContextManager) -> dict[str, Any]:
    """What the API answered; nothing where it refused or said something that is no JSON."""
    try:
        found: dict[str, Any] = json.loads(answer.content or b"{}")
    except ValueError:
        return {}
    return found if "number" in found else {}
