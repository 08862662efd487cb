"""Plain chat to token ids and loss mask: the one place that training and every engine use.

A chat template writes structure (headers, turn ends, a default system turn) around the contents of
the turns. It is rendered once per sequence of roles with a mark in place of every content; the text
between the marks is the structure. Structure and contents are tokenized apart: special tokens are
read in the structure only, so nothing that a user, a tool or a model writes (`<|im_end|>`,
`<|eot_id|>`) can become a control token, and the loss mask falls out of the same pieces: trainable
is what the assistant says up to and including the special token that ends its turn.

Two consequences. A template that decides by the words of a message (to drop old reasoning, say) is
used as if the words were ordinary. Text that starts with white space and that the template does not
trim may split into other tokens than in one piece; `equals_whole_text` tells.

One tokenizer may not be used from two threads at the same time.
"""

# transformers is typed in parts only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jinja2
from rich.text import Text

from coalm.errors import MissingExtraError, TemplateError
from coalm.types import ChatTurn, Prompt, Role

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEMPLATE_DATE = "26 Jul 2024"
"""Today's date for templates that write one (Llama 3.1 and later): a fixed day, so that the same
chat gives the same ids on every day. The value is the default in Llama 3.1's own template."""

_FOLDER = Path(__file__).parent / "chat_templates"
_PAD = "\u2003"  # an em space: white space to trim, and no template writes one itself
# Quotes, a backslash, <, & and both cases: any filter that changes a content changes the mark.
_MARK = 'The <{}th> "content" & \\it'
_MARKS = re.compile(f"({_PAD}?)" + re.escape(_MARK).replace(r"\{\}", r"(\d+)") + f"({_PAD}?)")

_PROBE = (
    ChatTurn("user", "Is it open?"),
    ChatTurn("assistant", "Yes."),
    ChatTurn("user", "Until when?"),
    ChatTurn("assistant", "Until ten."),
)


class Encoded(NamedTuple):
    """A chat as the model sees it; both lists have one entry per token."""

    token_ids: list[int]
    trainable: list[bool]
    """Whether the loss counts for this token: the assistant's words and its stop tokens."""


class _Layout(NamedTuple):
    """What a template writes around the contents of one sequence of roles."""

    structure: tuple[tuple[int, ...], ...]
    """Token ids before each content, and after the last: one more than there are turns."""
    trims: tuple[tuple[bool, bool], ...]
    """Per turn: whether the template cuts white space off its left and its right."""
    ends: tuple[int, ...]
    """Per turn: how many tokens of the structure after it the speaker has to say to end the turn,
    the stop token last; 0 when no special token follows."""


def template_names() -> list[str]:
    """Names of the templates that come with coalm, for `load_tokenizer`."""
    return sorted(path.stem for path in _FOLDER.glob("*.jinja"))


def load_tokenizer(
    path: str | Path, chat_template: str | None = None, *, trust_remote_code: bool = False
) -> PreTrainedTokenizerBase:
    """A tokenizer that is ready for this module: chat template chosen, padding token set.

    Args:
        path: Model folder or hub name.
        chat_template: One of `template_names`, or a Jinja file; None keeps the tokenizer's own.
        trust_remote_code: Run tokenizer code that comes with the model.

    Raises:
        TemplateError: the tokenizer cannot be loaded, or there is no such template.
    """
    try:
        from transformers import AutoTokenizer
    except ModuleNotFoundError as e:
        raise MissingExtraError("transformers", "hf") from e
    template = None if chat_template is None else template_text(chat_template)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as e:
        reason = str(e).strip().partition("\n")[0]
        raise TemplateError(
            f"no tokenizer can be loaded from {path}: {reason}; give a model folder or a hub name"
        ) from e
    if template is not None:
        tokenizer.chat_template = template
    if tokenizer.pad_token is None:
        vocabulary = tokenizer.get_vocab()
        reserved = "<|finetune_right_pad_id|>"  # Llama 3.1 keeps it for this and never sets it
        tokenizer.pad_token = reserved if reserved in vocabulary else tokenizer.eos_token
    return tokenizer


def template_text(name: str) -> str:
    """The Jinja text of one of `template_names`, or of a file.

    Raises:
        TemplateError: there is no such template.
    """
    if name in template_names():
        return (_FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as e:
        names = template_names()
        near = difflib.get_close_matches(name, names, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        raise TemplateError(
            f"chat template {name!r} is no readable file and none of {', '.join(names)}{meant}"
        ) from e


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Token ids of a chat, ending where the assistant speaks.

    Raises:
        TemplateError: the template cannot be used for this chat.
    """
    layout = _layout(tokenizer, _template(tokenizer), _roles(prompt), asks=True)
    return _fill(tokenizer, layout, prompt, learn=frozenset()).token_ids


def encode_sample(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, reply: str) -> Encoded:
    """A chat and the reply to learn; only the reply and its stop token are trainable.

    The ids start with those of `encode_prompt(tokenizer, prompt)`.

    Raises:
        TemplateError: the template cannot be used for this chat, or writes something else before a
            reply than when it asks for one.
    """
    turns = (*prompt, ChatTurn("assistant", reply))
    template, roles = _template(tokenizer), _roles(turns)
    asked = _layout(tokenizer, template, roles[:-1], asks=True)
    layout = _layout(tokenizer, template, roles, asks=False)
    if asked.structure != layout.structure[:-1]:
        raise _unusable(
            tokenizer,
            "writes other text before a reply than when it asks for one, so training would not fit "
            "generation",
        )
    return _fill(tokenizer, layout, turns, learn=frozenset({len(prompt)}))


def encode_dialogue(tokenizer: PreTrainedTokenizerBase, turns: Sequence[ChatTurn]) -> Encoded:
    """A whole chat; every assistant turn and its stop token are trainable.

    Raises:
        TemplateError: the template cannot be used for this chat.
    """
    layout = _layout(tokenizer, _template(tokenizer), _roles(turns), asks=False)
    spoken = frozenset(i for i, turn in enumerate(turns) if turn.role == "assistant")
    return _fill(tokenizer, layout, turns, learn=spoken)


def stop_token(tokenizer: PreTrainedTokenizerBase) -> int:
    """The special token that ends an assistant turn; engines stop at it.

    Raises:
        TemplateError: the template ends turns with ordinary text, or cannot be used at all.
    """
    encoded = encode_dialogue(tokenizer, _PROBE[:2])
    return [token for token, learn in zip(*encoded, strict=True) if learn][-1]


def is_prefix_preserving(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a chat that goes on keeps the ids it had, and a reply follows its prompt's ids.

    False for templates that rewrite earlier turns or announce a reply otherwise than they write it;
    training on such a template teaches contexts that never come up in generation.

    Raises:
        TemplateError: the template cannot be used at all.
    """
    for count in range(1, len(_PROBE)):
        longer = encode_dialogue(tokenizer, _PROBE[: count + 1]).token_ids
        shorter = encode_dialogue(tokenizer, _PROBE[:count]).token_ids
        if _PROBE[count].role == "assistant":
            shorter = encode_prompt(tokenizer, _PROBE[:count])
        if longer[: len(shorter)] != shorter:
            return False
    return True


def is_stop_token_trained(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether every assistant turn ends in a trainable stop token, so that the model learns to end.

    False when the template ends turns with ordinary text only.
    """
    try:
        stop = stop_token(tokenizer)
        encoded = encode_dialogue(tokenizer, _PROBE)
    except TemplateError:
        return False
    learnt = [token for token, learn in zip(*encoded, strict=True) if learn]
    return learnt.count(stop) == sum(turn.role == "assistant" for turn in _PROBE)


def equals_whole_text(tokenizer: PreTrainedTokenizerBase, turns: Sequence[ChatTurn]) -> bool:
    """Whether tokenizing in pieces gives the ids of the rendered chat tokenized in one piece.

    Holds for byte-level tokenizers (Llama 3, SmolLM2, Qwen) on texts that hold no special tokens
    and do not start with white space.
    """
    whole = _render(tokenizer, _template(tokenizer), turns, asks=False)
    ids = tokenizer(whole, add_special_tokens=False, verbose=False)["input_ids"]
    return ids == encode_dialogue(tokenizer, turns).token_ids


def show_mask(tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> Text:
    """The chat as text for a terminal: what is learnt in bold green, the rest dim."""
    shown = Text()
    for text, learn in masked_text(tokenizer, encoded):
        shown.append(text, style="bold green" if learn else "dim")
    return shown


def masked_text(tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> list[tuple[str, bool]]:
    """The chat as text, cut where the loss mask changes: each piece with whether it is learnt."""
    pieces: list[tuple[str, bool]] = []
    pairs = zip(*encoded, strict=True)
    for learn, run in itertools.groupby(pairs, key=lambda pair: pair[1]):
        ids = [token for token, _ in run]
        pieces.append((str(tokenizer.decode(ids, clean_up_tokenization_spaces=False)), learn))
    return pieces


def _roles(turns: Sequence[ChatTurn]) -> tuple[Role, ...]:
    if not turns:
        raise TemplateError("the chat has no turns; a prompt needs at least one user turn")
    return tuple(turn.role for turn in turns)


def _template(tokenizer: PreTrainedTokenizerBase) -> str:
    try:
        return tokenizer.get_chat_template()
    except ValueError as e:
        raise TemplateError(
            f"the tokenizer of {tokenizer.name_or_path} has no chat template; {_choices()}"
        ) from e


def _render(
    tokenizer: PreTrainedTokenizerBase, template: str, turns: Sequence[ChatTurn], *, asks: bool
) -> str:
    try:
        text = tokenizer.apply_chat_template(
            [turn._asdict() for turn in turns],
            chat_template=template,
            add_generation_prompt=asks,
            tokenize=False,
            date_string=TEMPLATE_DATE,
        )
    except (jinja2.TemplateError, TypeError, ValueError) as e:
        roles = ", ".join(turn.role for turn in turns)
        reason = " ".join(str(e).split())
        raise _unusable(tokenizer, f"refuses a chat of {roles}: {reason}") from e
    return str(text)


def _unusable(tokenizer: PreTrainedTokenizerBase, fault: str) -> TemplateError:
    return TemplateError(f"the chat template of {tokenizer.name_or_path} {fault}; {_choices()}")


def _choices() -> str:
    return f"choose one with chat_template: {', '.join(template_names())}, or a Jinja file"


@lru_cache(maxsize=4096)
def _layout(
    tokenizer: PreTrainedTokenizerBase, template: str, roles: tuple[Role, ...], *, asks: bool
) -> _Layout:
    marks = [
        ChatTurn(role, f"{_PAD}{_MARK.format(index)}{_PAD}") for index, role in enumerate(roles)
    ]
    pieces = _MARKS.split(_render(tokenizer, template, marks, asks=asks))
    _check_marks(tokenizer, roles, [int(index) for index in pieces[2::4]])
    structure = tokenizer(
        pieces[0::4], add_special_tokens=False, split_special_tokens=False, verbose=False
    )["input_ids"]
    trims = zip(pieces[1::4], pieces[3::4], strict=True)
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    layout = _Layout(
        structure=tuple(map(tuple, structure)),
        trims=tuple((not left, not right) for left, right in trims),
        ends=tuple(_end(ids, special) for ids in structure[1:]),
    )
    _check_ends(tokenizer, roles, layout)
    return layout


def _end(structure: Sequence[int], special: set[int]) -> int:
    """Length of `structure` up to and including its first special token, 0 without one."""
    return next((count for count, token in enumerate(structure, 1) if token in special), 0)


def _check_marks(
    tokenizer: PreTrainedTokenizerBase, roles: Sequence[Role], found: Sequence[int]
) -> None:
    if list(found) == list(range(len(roles))):
        return
    lost = [index for index in range(len(roles)) if index not in found]
    if lost:
        fault = f"drops or alters the text of turn {lost[0] + 1} ({roles[lost[0]]})"
    elif len(found) > len(roles):
        twice = next(index for index in found if found.count(index) > 1)
        fault = f"repeats the text of turn {twice + 1} ({roles[twice]})"
    else:
        fault = f"reorders the turns ({', '.join(roles)})"
    raise _unusable(tokenizer, fault)


def _check_ends(tokenizer: PreTrainedTokenizerBase, roles: Sequence[Role], layout: _Layout) -> None:
    spoken = [index for index, role in enumerate(roles) if role == "assistant"]
    if not all(layout.ends[index] for index in spoken):
        raise _unusable(
            tokenizer, "ends the assistant's turns without a special token: no model learns to stop"
        )
    stops = {layout.structure[index + 1][layout.ends[index] - 1] for index in spoken}
    if len(stops) > 1:
        tokens = " and ".join(sorted(tokenizer.convert_ids_to_tokens(list(stops))))
        raise _unusable(tokenizer, f"ends the assistant's turns in different ways, with {tokens}")


def _fill(
    tokenizer: PreTrainedTokenizerBase,
    layout: _Layout,
    turns: Sequence[ChatTurn],
    *,
    learn: frozenset[int],
) -> Encoded:
    """Put the contents of `turns` between the structure; the turns at `learn` become trainable."""
    texts = [_trimmed(turn.content, *trim) for turn, trim in zip(turns, layout.trims, strict=True)]
    try:
        contents = tokenizer(
            texts, add_special_tokens=False, split_special_tokens=True, verbose=False
        )["input_ids"]
    except (TypeError, UnicodeEncodeError) as e:
        raise TemplateError(f"text that is not valid Unicode: {texts!a:.200}") from e
    token_ids = list(layout.structure[0])
    trainable = [False] * len(token_ids)
    for index, content in enumerate(contents):
        after, end = layout.structure[index + 1], layout.ends[index]
        token_ids += [*content, *after]
        trainable += [index in learn] * (len(content) + end) + [False] * (len(after) - end)
    return Encoded(token_ids, trainable)


def _trimmed(text: str, left: bool, right: bool) -> str:
    text = text.lstrip() if left else text
    return text.rstrip() if right else text
