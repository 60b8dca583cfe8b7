"""New keys for a living session: one exchange of ephemerals per epoch, with no gap in traffic.

The hub opens packets of the new epoch before it answers and moves its sending at REKEY-DONE; the
edge opens and seals under it as soon as the answer is there. So whatever is on the way can be opened
(PROTOCOL.md sections 4 and 5). This object holds the chain and says what is in order; when to rekey
is the channel's business.
"""

from __future__ import annotations

from oxidized.core.handshake import Entropy, Ephemeral
from oxidized.core.keychain import EpochKeys, derive
from oxidized.core.messages import EPOCH_MAX, Rekey, RekeyDone, RekeyReply, RekeyWanted


class OutOfOrder(Exception):
    """The other side rekeys to an epoch that is not next, or answers what was not asked."""


class Epochs:
    """The epochs of one session. `epoch` is the one we seal under."""

    __slots__ = ("_chain", "_ephemeral", "_installed", "_is_edge", "epoch")

    def __init__(self, chain: bytes, *, is_edge: bool) -> None:
        self._chain = chain
        self._is_edge = is_edge
        self._ephemeral: Ephemeral | None = None
        self._installed = 0
        self.epoch = 0

    @property
    def is_under_way(self) -> bool:
        """Between REKEY and its reply (edge), or between the reply and DONE (hub)."""
        return self._ephemeral is not None or self._installed != self.epoch

    def begin(self, entropy: Entropy) -> Rekey:
        """Edge: ask for the next epoch."""
        assert self._is_edge and not self.is_under_way
        assert self.epoch < EPOCH_MAX
        self._ephemeral = Ephemeral(entropy)
        return Rekey(self.epoch + 1, self._ephemeral.public)

    def reply(self, reply: RekeyReply) -> tuple[EpochKeys, RekeyDone]:
        """Edge: the hub answered; install, send under it, and say so. Raises OutOfOrder, Rejected."""
        if self._ephemeral is None or reply.epoch != self.epoch + 1:
            raise OutOfOrder(f"reply for epoch {reply.epoch} in {self.epoch}")
        keys = self._advance(reply.epoch, self._ephemeral.shared(reply.ephemeral))
        self._ephemeral = None
        self.epoch = reply.epoch
        return keys, RekeyDone(reply.epoch)

    def request(self, rekey: Rekey, entropy: Entropy) -> tuple[EpochKeys, RekeyReply]:
        """Hub: the edge asks; install for receiving, then answer. Raises OutOfOrder, Rejected."""
        if self.is_under_way or rekey.epoch != self.epoch + 1:
            raise OutOfOrder(f"rekey to epoch {rekey.epoch} in {self.epoch}")
        ephemeral = Ephemeral(entropy)
        keys = self._advance(rekey.epoch, ephemeral.shared(rekey.ephemeral))
        return keys, RekeyReply(rekey.epoch, ephemeral.public)

    def done(self, done: RekeyDone) -> int:
        """Hub: the edge opens the new epoch; returns the epoch to seal under. Raises OutOfOrder."""
        if self._installed == self.epoch or done.epoch != self._installed:
            raise OutOfOrder(f"done for epoch {done.epoch} in {self.epoch}")
        self.epoch = done.epoch
        return self.epoch

    def wanted(self) -> RekeyWanted:
        """Hub: our key is worn."""
        assert not self._is_edge
        return RekeyWanted(self.epoch + 1)

    def is_wanted_next(self, wanted: RekeyWanted) -> bool:
        """Edge: whether the hub's wish is about the next epoch (a late one is not an error)."""
        return not self.is_under_way and wanted.epoch == self.epoch + 1

    def _advance(self, epoch: int, shared: bytes) -> EpochKeys:
        self._chain, keys = derive(self._chain, shared, epoch)
        self._installed = epoch
        return keys
