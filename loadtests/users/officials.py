"""Virtual users of the authority's API: packaging lines and a regulator. Imports Locust, as `consumers` does."""

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
from loadtests.users.consumers import VirtualUser, report
from loadtests.users.ledger import DELIVERY_SECONDS, RECALLED
from loadtests.users.verdicts import Answer, ScanKind
from zpcode.wire.link import path_of

_DECISION_SECONDS: Final = 10.0
_ISSUE_SECONDS: Final = 60.0
LAW: Final = "《消费品召回管理暂行规定》第十九条"


class Official(VirtualUser):
    """A virtual user of the authority's API. `token` is its API key."""

    abstract = True
    token = ""

    def call(self, method: str, path: str, name: str, body: dict[str, Any] | None = None,
            headers: dict[str, str] | None = None) -> ResponseContextManager:  # fmt: skip
        """Send one request to the API. A status other than 2xx counts as a failure."""
        sent = {"Authorization": f"Bearer {self.token}"} | (headers or {})
        with self.client.request(method, self.shared.api + path, name=name, json=body, headers=sent,
                                 catch_response=True) as entered:  # fmt: skip
            response: ResponseContextManager = entered
            right = 200 <= response.status_code < 300
            report(response, right, f"{response.status_code} {(response.text or '')[:300]}")
        answer = Answer.GOOD if right else Answer.ERROR
        self.shared.record(self.role, name, answer, response.request_meta["response_time"], right=right)
        return response


class Line(Official):
    """A packaging line: orders a batch, waits for its file, downloads and checks it, and scans some of its codes."""

    abstract = True
    role = figures.LINE
    turns_per_second = 0.2
    quantity: ClassVar[int] = 200

    def on_start(self) -> None:
        """Choose one of the enterprises that have API keys."""
        super().on_start()
        self.token, self.gtin = self.rng.choice(self.shared.keys.lines)

    def pack(self) -> None:
        """One batch, from the order to the first scans."""
        began = time.monotonic()
        order = {"level": "item", "gtin": self.gtin, "quantity": self.quantity, "lot": f"L{self.rng.randrange(10**9)}"}
        unique = {"Idempotency-Key": f"load-line-{self.rng.getrandbits(96):x}"}
        batch = _batch(self.call("POST", "/v1/batches", "order batch", order, unique))
        while batch and batch["file"] is None and time.monotonic() - began < _ISSUE_SECONDS:
            gevent.sleep(0.25)
            batch = _batch(self.call("GET", f"/v1/batches/{batch['number']}", "look at batch"))
        if not batch or batch["file"] is None:
            self.shared.record(self.role, "file", Answer.NOTHING, (time.monotonic() - began) * 1000, right=False)
            return
        file = self.call("GET", batch["file"]["href"], "fetch codes").content or b""
        self.shared.record(figures.ISSUE, "batch", Answer.GOOD, (time.monotonic() - began) * 1000, right=True)
        self._check(file, batch["file"]["sha256"])

    def _check(self, file: bytes, sha256: str) -> None:
        """Check the digest and the number of codes, and scan five codes: they must be good at once."""
        links = [row["url"] for row in csv.DictReader(io.StringIO(file.decode("ascii", "replace")))]
        whole = hashlib.sha256(file).hexdigest() == sha256 and len(set(links)) == self.quantity
        self.shared.record(self.role, "file", Answer.GOOD if whole else Answer.BAD, 0.0, right=whole)
        for link in self.rng.sample(links, min(5, len(links))):
            self.scan(path_of(link), name="scan what was just packed")


class Regulator(Official):
    """The province's office: makes a decision, waits until scans show it, and reverses it."""

    abstract = True
    role = figures.REGULATOR
    turns_per_second = 5.0

    def on_start(self) -> None:
        """Use the office's API key."""
        super().on_start()
        self.token = self.shared.keys.regulator

    def decide(self, scope: str, target: str, action: str, reason: str, **more: Any) -> bool:
        """Make one decision; False where the API refused it."""
        body = {"scope": scope, "target": target, "action": action, "reason": reason, **more}
        return 200 <= self.call("POST", "/v1/status-changes", f"{action} {scope}", body).status_code < 300

    def wait_until_shown(self, path: str, expected: Answer) -> bool:
        """Scan a code until it shows the decision, and record how long that took. False after ten seconds."""
        began = time.monotonic()
        while time.monotonic() - began < _DECISION_SECONDS:
            if self.scan(path, kind=ScanKind.CHANGING, name="scan after a decision") is expected:
                self.shared.record(figures.SHOWN, expected, expected, (time.monotonic() - began) * 1000, right=True)
                return True
        self.shared.record(self.role, "seen", Answer.NOTHING, _DECISION_SECONDS * 1000, right=False)
        return False

    def announce(self, subject: str, kind: ScanKind) -> None:
        """Announce an entry of the ledger, and wait until every process has it."""
        self.shared.announce(subject, kind)
        gevent.sleep(DELIVERY_SECONDS)

    def revoke_one(self) -> None:
        """Revoke a code, check that scans show it and keep showing it, restore it, and check that."""
        path = self.shared.sample.draw("revocable", self.rng)
        self.announce(path, ScanKind.CHANGING)
        if self.decide("code", path, "revoke", "labelling-error") and self.wait_until_shown(path, Answer.BAD):
            self.shared.announce(path, ScanKind.WITHDRAWN)
            for _ in range(5):
                self.scan(path, name="scan revoked")
                gevent.sleep(0.2)
        self.announce(path, ScanKind.CHANGING)
        if self.decide("code", path, "restore", "entered-in-error") and self.wait_until_shown(path, Answer.GOOD):
            self.announce(path, ScanKind.GENUINE)

    def restore_batch(self, batch: int, path: str) -> None:
        """Restore the batch if an earlier run left it recalled."""
        answer = self.scan(path, kind=ScanKind.CHANGING, name="scan before the news")
        if answer is not Answer.GOOD:
            self.decide("batch", str(batch), "restore", "entered-in-error")
            self.wait_until_shown(path, Answer.GOOD)
        self.announce(RECALLED, ScanKind.GENUINE)

    def recall(self, batch: int, path: str) -> None:
        """Recall the batch while consumers scan it."""
        self.announce(RECALLED, ScanKind.CHANGING)
        note = {"zh": "请停止使用并联系经销商", "en": "Stop using it and contact the seller"}
        if self.decide(
            "batch", str(batch), "recall", "safety-recall", legal_basis=LAW, note=note
        ) and self.wait_until_shown(path, Answer.BAD):
            self.shared.announce(RECALLED, ScanKind.WITHDRAWN)


def _batch(response: ResponseContextManager) -> dict[str, Any]:
    """The batch in a response of the API; empty where there is none."""
    try:
        body: dict[str, Any] = json.loads(response.content or b"{}")
    except ValueError:
        return {}
    return body if "number" in body else {}
