"""Fills a system for load tests: a made-up registry, batches issued by the real signer, and a sample of their codes.

It uses the same services as the API. The same plan on the same database creates nothing twice, so an interrupted seeding
is started again.

Popularity is as in shops: 1 % of the products have half of all codes. One batch is reserved for recalls and one for
revocations, so that a run does not change the codes of another run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from keys.client import SigningService
from loadtests.load import registry, sample
from zpcode.errors import Conflict, Text, Unavailable
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import Batch, BatchRequest, BatchState
from zpcode.services import access
from zpcode.services.batches import code_file, issue, reserve
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.registry import importing
from zpcode.store.database.session import Engine
from zpcode.wire.link import path_of
from zpcode.wire.payload import Level

CALLER: Final = Caller(Role.OPERATOR, "*", "cli:load")
PROVINCE: Final = "330000"
LINES: Final = 8
LOT: Final = "LOAD-1"
_OTHER_PROCESS_SECONDS: Final = 60.0
_OTHERS: Final = 20  # how many product codes, lot codes and compact codes are in the sample


@dataclass(frozen=True, slots=True)
class Plan:
    """The size of a system. `sampled` codes are in the sample; `set_aside` codes are in the recall batch, and in the revocable one."""

    products: int = 10_000
    codes: int = 1_000_000
    sampled: int = 200_000
    set_aside: int = 5_000

    def __post_init__(self) -> None:
        if not (1 <= self.products <= registry.MAX_PRODUCTS and 2 * self.products <= self.codes):
            raise ValueError("a seeding has 1 … 1 000 000 products, each with at least two codes")

    @property
    def popular(self) -> range:
        """The numbers of the popular products: every hundredth, so many enterprises have one."""
        return range(0, self.products, 100)

    def quantity(self, product: int) -> int:
        """The number of codes in the batch of a product."""
        ordinary = self.products - len(self.popular)
        if product % 100 == 0:
            return self.codes // (2 if ordinary else 1) // len(self.popular)
        return max(1, self.codes // 2 // ordinary)

    def share(self, product: int) -> int:
        """How many of these codes are in the sample."""
        return max(1, min(self.quantity(product), round(self.quantity(product) * self.sampled / self.codes)))


@dataclass(frozen=True, slots=True)
class _Order:
    """A batch to order; its first `sampled` codes go into this section of the sample, or into the codes of its level."""

    request: BatchRequest
    section: str
    sampled: int


@dataclass(slots=True)
class Seeding:
    """One seeding of a database. `exports` is the folder of code files; `progress` is called with Chinese and English text."""

    engine: Engine
    signer: SigningService
    exports: CodeFolder
    base: str
    plan: Plan
    progress: Callable[[str, str], None]
    threads: int = 4

    def run(self, folder: Path) -> None:
        """Seed the system, and write the sample with its API keys into `folder`."""
        self._register()
        orders = list(_orders(self.plan))
        batches = self._issue(orders)
        codes: dict[str, list[str]] = {name: [] for name in (*sample.SECTIONS, *sample.OTHERS)}
        recall_batch = 0
        for order, batch in zip(orders, batches, strict=True):
            codes[order.section] += _paths(self.exports, batch, order.sampled)
            if order.section == "recall":
                recall_batch = batch.number
        sample.write(folder, codes, recall_batch=recall_batch, products=self.plan.products, codes=self.plan.codes)
        self._keys(folder)

    def _register(self) -> None:
        for number, data in enumerate(registry.files_for(self.plan.products)):
            importing.import_registry(self.engine, data, actor=CALLER.name, now=_now())
            done = min((number + 1) * registry.PER_ENTERPRISE, self.plan.products)
            if done % 1000 == 0 or done == self.plan.products:
                self.progress(f"产品 {done}/{self.plan.products}", f"products {done}/{self.plan.products}")

    def _issue(self, orders: list[_Order]) -> list[Batch]:
        counted, lock = [0], threading.Lock()

        def issued(order: _Order) -> Batch:
            batch = self._issued(order.request)
            with lock:
                counted[0] += 1
                if counted[0] % 1000 == 0 or counted[0] == len(orders):
                    self.progress(f"批次 {counted[0]}/{len(orders)}", f"batches {counted[0]}/{len(orders)}")
            return batch

        with ThreadPoolExecutor(self.threads, thread_name_prefix="seed") as pool:
            return list(pool.map(issued, orders))

    def _issued(self, request: BatchRequest) -> Batch:
        """The issued batch of a request. The idempotency key contains the request, so a repeated seeding finds the batch."""
        key = f"load-{request.gtin}-{request.level}-{request.quantity}-{request.lot}"
        batch = reserve.reserve(
            self.engine, request, caller=CALLER, idempotency_key=key, base=self.base, now=_now()
        )  # fmt: skip
        deadline = time.monotonic() + _OTHER_PROCESS_SECONDS
        while batch.state is not BatchState.ISSUED:
            try:
                batch = issue.issue(self.engine, self.signer, batch.number, folder=self.exports, clock=_now)
            except Conflict:  # the worker is issuing it
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        return batch

    def _keys(self, folder: Path) -> None:
        """Create new API keys for a run: those of an earlier seeding may be on another machine."""

        def key(role: Role, subject: str) -> str:
            return access.create(self.engine, role, subject, "load test", caller=CALLER, now=_now()).token

        enterprises = -(-self.plan.products // registry.PER_ENTERPRISE)
        lines = tuple(
            (key(Role.ENTERPRISE, registry.uscc(number)), registry.gtin(number * registry.PER_ENTERPRISE))
            for number in (line % enterprises for line in range(LINES))
        )
        sample.Keys(key(Role.REGULATOR, PROVINCE), lines).write(folder)


def _orders(plan: Plan) -> Iterator[_Order]:
    """Every batch of a plan, the large ones first, so that no thread is still busy with one at the end."""
    ranked = sorted(range(plan.products), key=lambda number: (number % 100 != 0, number))
    aside = min(plan.set_aside, plan.codes)
    for section in ("recall", "revocable"):
        lot = f"LOAD-{section.upper()}"
        yield _Order(BatchRequest(Level.ITEM, registry.gtin(0), aside, lot), section, aside)
    for number in ranked:
        request = BatchRequest(Level.ITEM, registry.gtin(number), plan.quantity(number), LOT)
        yield _Order(request, "popular" if number % 100 == 0 else "ordinary", plan.share(number))
    for number in range(min(_OTHERS, plan.products)):
        yield _Order(BatchRequest(Level.PRODUCT, registry.gtin(number), 1000), "product_codes", 1)
        yield _Order(BatchRequest(Level.LOT, registry.gtin(number), 1000, LOT), "lot_codes", 1)
        yield _Order(BatchRequest(Level.COMPACT, registry.gtin(number), 10, LOT), "compact_codes", 1)


def _paths(exports: CodeFolder, batch: Batch, count: int) -> list[str]:
    """The paths of the first `count` codes of a batch's file. Raises Unavailable where the file has fewer."""
    urls = code_file.first_urls(batch, exports, count)
    if len(urls) < count:
        raise Unavailable(Text(f"批次 {batch.number} 的文件不完整", f"the file of batch {batch.number} is incomplete"))
    return [path_of(url) for url in urls]


def _now() -> datetime:
    return datetime.now(UTC)
