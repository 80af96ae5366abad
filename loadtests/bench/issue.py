"""Speed and memory of issuing, compared with raw signatures on the same cores.

    issue_ratio          codes per second of `zpcode issue` (signer, permutation, CSV, SHA-256, disk) ÷ signatures per
                         second of one process for each core that only calls `key.sign`
    issue_rss_mb         peak resident memory of the issuing process
    issue_rss_growth_mb  how much more it is than for a small batch

Both rates are measured in turn. Each round is divided by the raw rates just before and after it, and the figure is the
median, so that other load on the machine has the same influence on both.

    ZPCODE_BENCH_CODES   item codes of the largest batch, default 2 000 000
    ZPCODE_BENCH_ROUNDS  rounds, default 5
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import insert

from keys.ceremony import KeyRoom, create_key, create_root
from keys.client import SignerClient
from zpcode.embedded.servers import Servers
from zpcode.errors import SignerUnavailable
from zpcode.rules.access import Caller, Role
from zpcode.rules.batches.batch import BatchRequest
from zpcode.services.batches import file_keys, reserve
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.batches.issue import issue
from zpcode.store.cards import put_cards
from zpcode.store.database.session import connect, migrate_embedded, transaction
from zpcode.store.tables.registry import enterprise, product
from zpcode.wire.calendar import today
from zpcode.wire.card import EnterpriseInfo, ProductCard, RecognitionInfo, product_key
from zpcode.wire.payload import Level
from zpcode.wire.vocabulary import Bilingual

RAW_SECONDS = 3.0
SMALL = 50_000
ROUND = 400_000
_WORD = b"a passphrase for measuring"
_GTIN = "09501101530003"
_OPERATOR = Caller(Role.OPERATOR, "*", "cli:bench")


def issue_figures() -> dict[str, float]:
    """The figures above, and issue_codes_per_s and raw_signatures_per_s."""
    codes = int(os.environ.get("ZPCODE_BENCH_CODES", "2000000"))
    rounds = int(os.environ.get("ZPCODE_BENCH_ROUNDS", "5"))
    with tempfile.TemporaryDirectory(prefix="zpcode-bench-") as folder, ExitStack() as stack:
        home = Path(folder)
        home.chmod(0o711)
        addresses = stack.enter_context(Servers(home / "servers")).addresses
        migrate_embedded(addresses)
        database = addresses.database
        _register(database)
        stack.enter_context(_signer(home))
        small = _issued(home, database, SMALL, "small")[1]
        raw, issued = [_raw_rate()], []
        for number in range(rounds):
            issued.append(ROUND / _issued(home, database, ROUND, f"round-{number}")[0])
            raw.append(_raw_rate())
        megabytes = _issued(home, database, codes, "large")[1]
    # Each round is compared with the raw rates just before and after it.
    ratios = [rate / statistics.fmean(raw[at : at + 2]) for at, rate in enumerate(issued)]
    return {
        "issue_ratio": round(statistics.median(ratios), 3),
        "issue_codes_per_s": round(statistics.median(issued)),
        "raw_signatures_per_s": round(statistics.median(raw)),
        "issue_rss_mb": round(megabytes, 1),
        "issue_rss_growth_mb": round(megabytes - small, 1),
        "issue_rss_codes": codes,
    }


@contextmanager
def _signer(home: Path) -> Iterator[None]:
    """A key room and its signer, with one process for each core."""
    room = KeyRoom(home / "keys", home / "keyring.json", home / "root.key.pem", home / "root.pub.pem")
    create_root(room, root_passphrase=_WORD)
    begin = datetime.now(UTC) - timedelta(days=1)
    create_key(room, passphrase=_WORD, root_passphrase=_WORD, now=begin, validity=timedelta(days=30))
    word = home / "passphrase"
    word.touch(mode=0o600)
    word.write_bytes(_WORD)
    environment = os.environ | {"ZPCODE_HOME": str(home), "ZPCODE_KEY_PASSPHRASE_FILE": str(word)}
    process = subprocess.Popen([sys.executable, "-m", "keys", "serve"], env=environment, stderr=subprocess.DEVNULL)
    try:
        _wait(SignerClient(home / "run" / "signer.sock"), process)
        yield
    finally:
        process.terminate()
        process.wait()


def _wait(client: SignerClient, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            client.active_key()
        except SignerUnavailable:
            time.sleep(0.05)
        else:
            return
    raise SystemExit("the signer did not start")


def _register(database: str) -> None:
    """One enterprise with one recognised product: all that issuing needs from the registry."""
    engine = connect(database, pool_size=1)
    name, day = Bilingual("测速", "Bench"), today(datetime.now(UTC))
    recognition = RecognitionInfo("BENCH-1", "certification", str(day), str(day + timedelta(days=1)))
    maker = EnterpriseInfo("91330106MA27XXXX0B", name, "330106", name)
    card = ProductCard(_GTIN, name, maker, recognition, (), (), (), ())
    with transaction(engine) as connection:
        texts = {"zh": name.zh, "en": name.en}
        row = {"uscc": maker.uscc, "name": texts, "region": maker.region, "industry": "C15"}
        connection.execute(insert(enterprise).values(row))
        connection.execute(insert(product).values(gtin=_GTIN, uscc=maker.uscc, name=texts))
        put_cards(connection, {product_key(_GTIN): msgspec.msgpack.encode(card)})
    engine.dispose()


def _issued(home: Path, database: str, codes: int, key: str) -> tuple[float, float]:
    """Seconds and peak megabytes of a child process that issues a batch and deletes its file."""
    done = _child("issue", str(home), database, str(codes), key)
    result = json.loads(done.communicate()[0])
    return result["seconds"], result["rss_mb"]


def _raw_rate() -> float:
    """Signatures per second of all cores together."""
    running = [_child("raw") for _ in os.sched_getaffinity(0)]
    return sum(float(process.communicate()[0]) for process in running)


def _child(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "loadtests.bench.issue", *arguments], stdout=subprocess.PIPE)  # noqa: S603 - this file


def _sign_only() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    messages = [f"zpcode/1\nAAAA\n/01/09501101530003/21/{number:012d}".encode() for number in range(1000)]
    count, start = 0, time.perf_counter()
    while (passed := time.perf_counter() - start) < RAW_SECONDS:
        for message in messages:
            key.sign(message, algorithm)
        count += len(messages)
    sys.stdout.write(f"{count / passed}")


def _issue_only(home: Path, database: str, codes: int, key: str) -> None:
    engine, now = connect(database, pool_size=2), datetime.now(UTC)
    request = BatchRequest(Level.ITEM, _GTIN, codes, lot="BENCH", production_date=today(now))
    batch = reserve.reserve(engine, request, caller=_OPERATOR, idempotency_key=key, base="https://zpm.example", now=now)
    folder = CodeFolder(home / "exports", home / "files.key")
    file_keys.create(folder.key_file)
    with SignerClient(home / "run" / "signer.sock") as signer:
        start = time.perf_counter()
        issued = issue(engine, signer, batch.number, folder=folder, clock=lambda: datetime.now(UTC))
        seconds = time.perf_counter() - start
    folder.finished(issued).unlink()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(json.dumps({"seconds": seconds, "rss_mb": peak}))


def main() -> None:
    """Print the figures. With `raw` or `issue` as argument, be one of the measured processes."""
    match sys.argv[1:]:
        case ["raw"]:
            _sign_only()
        case ["issue", home, database, codes, key]:
            _issue_only(Path(home), database, int(codes), key)
        case _:
            sys.stdout.write(json.dumps(issue_figures(), indent=2) + "\n")


if __name__ == "__main__":
    main()
