"""A source that a build goes on without when its files are not on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from coalm.data.base import Ledger, Source
from coalm.data.files import MissingFilesError
from coalm.errors import AssetError
from coalm.types import Conversation


class OptionalSource:
    """A source whose absence stands in the ledger instead of ending the build."""

    def __init__(self, name: str, load: Callable[[], Source]) -> None:
        """Call `load` when the samples are asked for."""
        self.name = name
        self._load = load
        self._source: Source | None = None
        self._ledger = Ledger()

    @property
    def ledger(self) -> Ledger:
        """See `Source.ledger`; `absent` says why the source is not there."""
        return self._source.ledger if self._source else self._ledger

    def conversations(self) -> Iterator[Conversation]:
        """See `Source.conversations`; nothing where the files are not there."""
        try:
            self._source = self._load()
            yield from self._source.conversations()
        except (AssetError, MissingFilesError) as e:
            self.ledger.absent.append(str(e))
