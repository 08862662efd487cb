"""From token ids to text, at once and while the tokens come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from coalm.engines.stops import settled

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_UNFINISHED = "\ufffd"
"""What the bytes of a character read as that is not complete."""


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of some tokens, special tokens left out."""
    # Llama 3's tokenizer asks for a clean-up that removes spaces the model wrote
    options = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
    return str(tokenizer.decode(list(ids), **options))


class GrowingText:
    """The text of an answer under way, as far as nothing that comes can change it.

    Held back are characters of which bytes are missing, and what may be the beginning of a stop
    text. Only the last tokens are decoded anew: from the last complete character but one read,
    because some tokenizers write a token differently at the beginning of a text.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, prompt_length: int, stop: Sequence[str]
    ) -> None:
        self._tokenizer = tokenizer
        self._stop = stop
        self._from = self._read = prompt_length
        self._held = ""

    def grown(self, ids: Sequence[int]) -> str:
        """What can be read beyond what was given before.

        Args:
            ids: The prompt and the answer so far.
        """
        before = decode(self._tokenizer, ids[self._from : self._read])
        now = decode(self._tokenizer, ids[self._from :])
        if len(now) > len(before) and not now.endswith(_UNFINISHED):
            self._held += now[len(before) :]
            self._from, self._read = self._read, len(ids)
        end = settled(self._held, self._stop)
        given, self._held = self._held[:end], self._held[end:]
        return given
