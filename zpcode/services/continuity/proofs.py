"""What proves a batch outside Redis, read once in a recovery: its code file, and the signer's log."""

from __future__ import annotations

from collections.abc import Callable, Collection

from keys.client import SigningService
from keys.keyring import Keyring
from zpcode.errors import KeyringError, SignerError
from zpcode.rules.batches.batch import Batch
from zpcode.services.batches.code_folder import CodeFolder
from zpcode.services.continuity.proven_files import ProvenFile, prove
from zpcode.services.continuity.signed_codes import SignedRequests, proves, signed_requests
from zpcode.wire.payload import Level


class Proofs:
    """The proofs that the folder of code files and the signer give. To verify a large file takes minutes, so each is read once.

    Without `signer` its log proves nothing.
    """

    def __init__(self, exports: CodeFolder, keyring: Callable[[], Keyring], signer: SigningService | None) -> None:
        self._exports, self._keyring, self._signer = exports, keyring, signer
        self._files: dict[int, ProvenFile | None] = {}
        self._requests: SignedRequests | None = None

    def file(self, batch: Batch) -> ProvenFile | None:
        """The code file of a batch, if it has exactly the batch's codes. Raises Unavailable if the file key is missing."""
        if batch.number not in self._files:
            self._files[batch.number] = prove(batch, self._exports, self._keyring)
        return self._files[batch.number]

    def signed(self, batches: Collection[Batch]) -> set[int] | None:
        """The numbers of those batches whose codes the signer's log proves; None if nobody can read the log."""
        items = [batch for batch in batches if batch.level is Level.ITEM and batch.key_id]
        if self._requests is None and items and self._signer is not None:
            try:
                self._requests = signed_requests(self._signer, {batch.number for batch in items})
            except (SignerError, KeyringError):
                self._signer = None
        if self._requests is None:
            return set() if not items else None
        return {batch.number for batch in items if proves(self._requests.get(batch.number, ()), batch)}
