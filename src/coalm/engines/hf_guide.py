"""Answers that follow a grammar: which tokens may come next, and which have to.

llguidance reads the grammar along with the answer. Where only one text can follow, its tokens are
taken as they are and computed together with the next step, not one by one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from coalm.errors import EngineError, GrammarError, MissingExtraError

if TYPE_CHECKING:
    from llguidance import LLMatcher

_CLOSING = 64
"""New tokens that are left when the closing begins, or half of them all if that is less."""


class _Closers(NamedTuple):
    """What ends something.

    Near the limit of new tokens an answer that cannot simply end there goes on with these where the
    grammar has one, so that a call is closed and not cut off.
    """

    line: Tensor
    """Which tokens only end a line; bool [vocabulary], as all here."""
    quote: Tensor
    """Those that begin with a quote, and have brackets after it at most."""
    bracket: Tensor
    """Those of closing brackets alone."""
    letter: Tensor
    """Those of a letter: where one may stand, a bracket would be text and end nothing."""

    def among(self, allowed: Tensor) -> Tensor:
        """The allowed tokens that end something; all of them if none does."""
        in_text = bool((allowed & self.letter).any())
        kinds = (self.line, self.quote) if in_text else (self.bracket, self.quote)
        found = (allowed & kind for kind in kinds)
        return next((some for some in found if bool(some.any())), allowed)


class Guide:
    """One answer on its way through a grammar."""

    def __init__(self, matcher: LLMatcher, stop_ids: list[int], closers: _Closers) -> None:
        self._matcher = matcher
        self._stop_ids = stop_ids
        self._closers = closers

    def masked(self, scores: Tensor, left: int, room: int) -> Tensor:
        """Scores [vocabulary] with minus infinity for tokens that may not come next.

        Args:
            scores: Of the next token.
            left: New tokens that are left.
            room: New tokens that there were in the beginning.
        """
        bits = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        allowed = (bits[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1
        allowed = allowed.view(-1)[: len(scores)].bool()
        if left <= min(_CLOSING, room // 2) and not bool(allowed[self._stop_ids].any()):
            allowed = self._closers.among(allowed)
        return scores.masked_fill(~allowed.to(scores.device), float("-inf"))

    def accept(self, token: int) -> list[int]:
        """Go on after a token; returns those that have to follow.

        Raises:
            EngineError: the grammar is too large to follow.
        """
        forced: list[int] = []
        if self._matcher.consume_token(token) and not self._matcher.is_stopped():
            forced = self._matcher.compute_ff_tokens()
            self._matcher.consume_tokens(forced)
        if self._matcher.is_error():
            raise EngineError(f"the grammar cannot be followed: {_first_line(self._matcher)}")
        return [*forced, self._stop_ids[0]] if self._matcher.is_stopped() else forced


class Guides:
    """Makes guides for the answers of one model."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, stop_ids: Iterable[int], vocabulary: int
    ) -> None:
        """Nothing is loaded before the first guide is asked for.

        Args:
            tokenizer: Of the model; a fast one.
            stop_ids: Tokens that end an answer.
            vocabulary: Tokens that the model scores.
        """
        self._source: Any = tokenizer  # llguidance says itself what it cannot use
        self._stop_ids = sorted(stop_ids)
        self._vocabulary = vocabulary

    def make(self, grammar: str) -> Guide:
        """A guide for one answer.

        Raises:
            GrammarError: the grammar cannot be used.
            EngineError: the tokenizer cannot be used.
            MissingExtraError: llguidance is not installed.
        """
        tokenizer = self._tokenizer
        from llguidance import LLMatcher

        matcher = LLMatcher(tokenizer, LLMatcher.grammar_from_lark(grammar), log_level=0)
        if matcher.is_error():
            raise GrammarError(f"the grammar cannot be used: {_first_line(matcher)}")
        return Guide(matcher, self._stop_ids, self._closers)

    @cached_property
    def _tokenizer(self) -> Any:
        try:
            from llguidance.hf import from_tokenizer
        except ModuleNotFoundError as e:
            raise MissingExtraError("llguidance", "guided") from e
        try:
            return from_tokenizer(self._source, self._vocabulary, self._stop_ids)
        except ValueError as e:
            raise EngineError(f"answers cannot be guided with this tokenizer: {e}") from e

    @cached_property
    def _closers(self) -> _Closers:
        texts = self._source.batch_decode([[token] for token in range(len(self._source))])
        texts += [""] * (self._vocabulary - len(texts))  # some models score more than there are

        def which(pattern: str) -> Tensor:
            return torch.tensor([re.fullmatch(pattern, text) is not None for text in texts])

        return _Closers(
            line=which(r"\n+"),
            quote=which(r'"[)\]}]*'),
            bracket=which(r"[)\]}]+"),
            letter=which(r"[a-z]"),
        )


def _first_line(matcher: LLMatcher) -> str:
    return matcher.get_error().strip().partition("\n")[0]
