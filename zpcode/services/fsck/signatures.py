"""Kept signatures on disk, and removed files that nothing could write again."""

from __future__ import annotations

from typing import Final

from keys.keyring import KeyPurpose, Keyring
from zpcode.errors import Text
from zpcode.exports.formats import EXPORTS
from zpcode.rules.batches.batch import Batch, BatchState
from zpcode.services.batches import code_file, signatures
from zpcode.services.fsck.context import CheckContext
from zpcode.services.fsck.files import check_mode, unreadable_is_a_finding
from zpcode.services.fsck.report import CheckResult, Invariant
from zpcode.store.monitoring import integrity

SIGNATURES: Final = Invariant(
    "kept-signatures",
    Text(
        "保存的签名完好；已清除的码文件都能重新生成",
        "kept signatures are undamaged, and every removed code file can be written again",
    ),
    Text(
        "由备份恢复 batch-序号.signatures；密钥尚能签名时，也可执行 zpcode batches archive --key 密钥编号",
        "restore batch-N.signatures from a backup; as long as the key may sign, zpcode batches archive --key KID makes it again",
    ),
)


def kept(context: CheckContext, outcome: CheckResult) -> None:
    """Mode and SHA-256 of each file of signatures; with `deep` also that they give the recorded code file.

    A removed file of a sealed batch without kept signatures needs a key that may sign now.
    """
    keyring = context.keyring()
    with integrity.snapshot(context.engine) as connection:
        for chunk in integrity.every_batch(connection):
            for batch in chunk:
                if batch.state is not BatchState.ISSUED or not batch.sealed:
                    continue
                if batch.signatures_sha256:
                    outcome.examined += 1
                    _check(context, batch, outcome)
                elif batch.file_removed_at is not None:
                    outcome.examined += 1
                    _check_key(context, keyring, batch, outcome)


def _check(context: CheckContext, batch: Batch, outcome: CheckResult) -> None:
    path = context.exports.signatures(batch)
    try:
        with unreadable_is_a_finding(path, outcome):
            if signatures.digest(batch, context.exports) != batch.signatures_sha256:
                outcome.find("digest", "摘要与记录不符", "its digest is not the recorded one", where=path.name)
            elif context.deep and batch.format in EXPORTS and _rebuilt(context, batch) != batch.sha256:
                zh, en = "由此生成的码文件与记录不符", "the code file that it gives is not the recorded one"
                outcome.find("codes", zh, en, where=path.name)
        check_mode(path, path.stat(), outcome)
    except FileNotFoundError:
        outcome.find("missing", "文件缺失", "the file is missing", where=path.name)


def _rebuilt(context: CheckContext, batch: Batch) -> str:
    return code_file.rebuilt_digest(batch, context.exports)


def _check_key(context: CheckContext, keyring: Keyring, batch: Batch, outcome: CheckResult) -> None:
    key = keyring.get(batch.key_id)
    if key is None or not key.signs(KeyPurpose.CODES) or not key.may_sign(context.now):
        zh = f"文件已清除、签名未保存，而密钥 {batch.key_id} 已不能签名"
        en = f"its file is removed, its signatures are not kept, and the key {batch.key_id} may not sign"
        outcome.find("lost", zh, en, where=f"batch:{batch.number}")
