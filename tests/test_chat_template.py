from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coalm.chat_template import (
    Encoded,
    encode_dialogue,
    encode_prompt,
    encode_sample,
    equals_whole_text,
    is_prefix_preserving,
    is_stop_token_trained,
    load_tokenizer,
    show_mask,
    stop_token,
    template_names,
)
from coalm.errors import TemplateError
from coalm.types import ChatTurn, Prompt

pytest.importorskip("transformers")
if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ORIGINALS = Path(__file__).parent / "fixtures" / "chat_templates" / "originals.jsonl"
"""Chats as the templates of SmolLM2-135M-Instruct, Meta-Llama-3-8B-Instruct and
Llama-3.1-8B-Instruct wrote them (rendered by transformers, not by hand)."""
STOPS = {"chatml": "<|im_end|>", "llama3": "<|eot_id|>", "llama3_1": "<|eot_id|>"}
DIALOGUE = (
    ChatTurn("system", "You book tables."),
    ChatTurn("user", "Two at 7, please. 北京 🍔"),
    ChatTurn("assistant", "Thought: [city] is known.\nAction: FindRestaurants(city='San Jose')"),
    ChatTurn("tool", '[{"name": "<|eot_id|>"}]'),
    ChatTurn("assistant", "It is called <|im_end|>."),
    ChatTurn("user", "Strange. Thanks!"),
    ChatTurn("assistant", "Enjoy."),
)


@pytest.fixture(params=template_names())
def tokenizer(request: pytest.FixtureRequest, tiny_model: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny_model, request.param)


@pytest.fixture
def custom(tiny_model: Path, tmp_path: Path) -> Callable[[str], PreTrainedTokenizerBase]:
    """The tiny tokenizer with a template of the test's own."""

    def load(template: str) -> PreTrainedTokenizerBase:
        path = tmp_path / "own.jinja"
        path.write_text(template, encoding="utf-8")
        return load_tokenizer(tiny_model, str(path))

    return load


def learnt(tokenizer: PreTrainedTokenizerBase, encoded: Encoded) -> str:
    return tokenizer.decode([t for t, learn in zip(*encoded, strict=True) if learn])


def name_of(tokenizer: PreTrainedTokenizerBase) -> str:
    texts = {load_tokenizer(tokenizer.name_or_path, n).chat_template: n for n in template_names()}
    return texts[tokenizer.chat_template]


@pytest.mark.parametrize("name", template_names())
def test_our_templates_write_what_the_originals_write(tiny_model: Path, name: str) -> None:
    tokenizer = load_tokenizer(tiny_model, name)
    rows = [json.loads(line) for line in ORIGINALS.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row["template"] == name]
    assert len(rows) == 5
    for row in rows:
        turns = tuple(ChatTurn(role, text) for role, text in row["chat"])
        ids = encode_prompt(tokenizer, turns) if row["asks"] else encode_dialogue(tokenizer, turns)
        assert tokenizer.decode(ids if row["asks"] else ids[0]) == row["text"]


@pytest.mark.model
def test_chatml_is_the_template_in_smollm2(smollm2: Path) -> None:
    ours, own = load_tokenizer(smollm2, "chatml"), load_tokenizer(smollm2)
    assert ours.chat_template != own.chat_template
    for start, end in itertools.combinations(range(len(DIALOGUE) + 1), 2):
        turns = DIALOGUE[start:end]
        assert encode_prompt(ours, turns) == encode_prompt(own, turns)
        assert encode_dialogue(ours, turns) == encode_dialogue(own, turns)


@pytest.mark.model
def test_smollm2_gets_the_ids_of_the_whole_text(smollm2: Path) -> None:
    tokenizer = load_tokenizer(smollm2)
    assert equals_whole_text(tokenizer, DIALOGUE[:3])
    assert tokenizer.convert_ids_to_tokens(stop_token(tokenizer)) == "<|im_end|>"
    assert is_prefix_preserving(tokenizer)
    assert is_stop_token_trained(tokenizer)


def test_the_mask_is_golden(
    tokenizer: PreTrainedTokenizerBase, golden: Callable[[str, str], None]
) -> None:
    shown = show_mask(tokenizer, encode_dialogue(tokenizer, DIALOGUE))
    runs = [(shown.plain[span.start : span.end], span.style) for span in shown.spans]
    text = "".join(run if style == "dim" else f"⟦{run}⟧" for run, style in runs)
    golden(f"chat_template/{name_of(tokenizer)}.txt", text)


def test_what_is_learnt_is_the_reply_and_its_stop_token(tokenizer: PreTrainedTokenizerBase) -> None:
    stop = STOPS[name_of(tokenizer)]
    assert tokenizer.convert_ids_to_tokens(stop_token(tokenizer)) == stop
    for at, turn in enumerate(DIALOGUE):
        if turn.role == "assistant":
            sample = encode_sample(tokenizer, DIALOGUE[:at], turn.content)
            assert learnt(tokenizer, sample) == turn.content + stop
            first = sample.trainable.index(True)
            assert not any(sample.trainable[:first])
    replies = [turn.content + stop for turn in DIALOGUE if turn.role == "assistant"]
    assert learnt(tokenizer, encode_dialogue(tokenizer, DIALOGUE)) == "".join(replies)


def test_an_empty_reply_still_learns_to_stop(tokenizer: PreTrainedTokenizerBase) -> None:
    sample = encode_sample(tokenizer, DIALOGUE[:2], "")
    assert learnt(tokenizer, sample) == STOPS[name_of(tokenizer)]


def test_outer_white_space_goes_where_the_template_trims(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    name = name_of(tokenizer)
    reply = learnt(tokenizer, encode_sample(tokenizer, DIALOGUE[:2], " \n Yes.\n"))
    assert reply == (" \n Yes.\n" if name == "chatml" else "Yes.") + STOPS[name]


def test_the_mask_is_shown_in_two_styles(tokenizer: PreTrainedTokenizerBase) -> None:
    shown = show_mask(tokenizer, encode_sample(tokenizer, DIALOGUE[:2], "Sure [ok]"))
    styles = {shown.plain[span.start : span.end]: span.style for span in shown.spans}
    assert styles["Sure [ok]" + STOPS[name_of(tokenizer)]] == "bold green"
    assert set(styles.values()) == {"bold green", "dim"}


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
chats = st.lists(
    st.builds(ChatTurn, st.sampled_from(["user", "assistant", "tool"]), texts), min_size=1
)


@settings(max_examples=60, deadline=None)
@given(prompt=chats.map(tuple), reply=texts)
@pytest.mark.parametrize("name", template_names())
def test_a_sample_starts_with_its_prompt(
    tiny_model: Path, name: str, prompt: Prompt, reply: str
) -> None:
    tokenizer = load_once(tiny_model, name)
    asked = encode_prompt(tokenizer, prompt)
    sample = encode_sample(tokenizer, prompt, reply)
    assert sample.token_ids[: len(asked)] == asked
    assert not any(sample.trainable[: len(asked)])
    dialogue = encode_dialogue(tokenizer, (*prompt, ChatTurn("assistant", reply)))
    assert dialogue.token_ids == sample.token_ids


words = st.text("ab .,é北\n'", max_size=20).map(lambda text: f"x{text}")


@settings(max_examples=60, deadline=None)
@given(contents=st.lists(words, min_size=1, max_size=6))
@pytest.mark.parametrize("name", template_names())
def test_pieces_give_the_ids_of_the_whole_text(
    tiny_model: Path, name: str, contents: list[str]
) -> None:
    roles = itertools.cycle(["user", "assistant"])
    turns = [ChatTurn(role, text) for role, text in zip(roles, contents, strict=False)]
    assert equals_whole_text(load_once(tiny_model, name), turns)


def test_pieces_may_differ_where_a_text_starts_with_white_space(tiny_model: Path) -> None:
    assert not equals_whole_text(load_tokenizer(tiny_model, "chatml"), [ChatTurn("user", "  A")])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("name", template_names())
def test_no_text_becomes_a_control_token(tiny_model: Path, name: str, data: st.DataObject) -> None:
    tokenizer = load_once(tiny_model, name)
    control = st.sampled_from(tokenizer.all_special_tokens + list(tokenizer.get_added_vocab()))
    evil = st.lists(st.one_of(control, st.text("<|>imend_o \n")), max_size=6).map("".join)
    turns = [turn._replace(content=data.draw(evil)) for turn in DIALOGUE]
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)

    def count(turns: list[ChatTurn]) -> int:
        return sum(token in special for token in encode_dialogue(tokenizer, turns).token_ids)

    assert count(turns) == count([turn._replace(content="plain") for turn in DIALOGUE])


loaded: dict[tuple[Path, str], PreTrainedTokenizerBase] = {}


def load_once(folder: Path, name: str) -> PreTrainedTokenizerBase:
    """For property tests, where a fixture of this scope may not be used."""
    if (folder, name) not in loaded:
        loaded[folder, name] = load_tokenizer(folder, name)
    return loaded[folder, name]


LOOP = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + %s + '<|im_end|>\n' }}{% endfor %}"
)
ASK = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
GOOD = LOOP.replace("%s", "m.content") + ASK
THINKS = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
    "{% if m.role == 'assistant' and loop.last %}{{ '<think></think>' }}{% endif %}"
    "{{ m.content + '<|im_end|>\n' }}{% endfor %}" + ASK
)
NO_STOP = "{% for m in messages %}{{ m.role + ': ' + m.content + '\n' }}{% endfor %}"
FIRST = "{{ messages | length }}" + GOOD
FAULTS = [
    ("{{ messages[0].content }}", "drops or alters the text of turn 2 (assistant)"),
    (LOOP.replace("%s", "m.content | upper"), "drops or alters the text of turn 1 (user)"),
    (LOOP.replace("%s", "m.content | tojson"), "drops or alters the text of turn 1 (user)"),
    (LOOP.replace("%s", "m.content | e"), "drops or alters the text of turn 1 (user)"),
    (LOOP.replace("%s", "m.content + m.content"), "repeats the text of turn 1 (user)"),
    (GOOD.replace("in messages", "in messages | reverse"), "reorders the turns (user, assistant)"),
    (NO_STOP, "ends the assistant's turns without a special token: no model learns to stop"),
    (THINKS, "writes other text before a reply than when it asks for one, so training would not"),
    ("{{ raise_exception('no such\n role') }}", "refuses a chat of user: no such role"),
    ("{{ messages[0].content + 1 }}", "refuses a chat of user: can only concatenate str"),
    ("{% for m in %}", "refuses a chat of user: "),
]


@pytest.mark.parametrize(("template", "fault"), FAULTS)
def test_a_template_that_cannot_be_used_is_refused(
    custom: Callable[[str], PreTrainedTokenizerBase], template: str, fault: str
) -> None:
    with pytest.raises(TemplateError) as caught:
        encode_sample(custom(template), (ChatTurn("user", "Hi"),), "Hello")
    message = str(caught.value)
    assert message.startswith("the chat template of ")
    assert fault in message
    assert "choose one with chat_template: chatml, llama3, llama3_1, or a Jinja file" in message
    assert "\n" not in message


def test_two_ways_to_end_a_turn_are_refused(
    custom: Callable[[str], PreTrainedTokenizerBase],
) -> None:
    end = "('<|eot_id|>' if loop.last else '<|im_end|>')"
    tokenizer = custom(GOOD.replace("'<|im_end|>\n'", end))
    with pytest.raises(TemplateError, match=r"different ways, with <\|eot_id\|> and <\|im_end\|>"):
        encode_dialogue(tokenizer, DIALOGUE)


def test_a_role_that_a_template_refuses_is_named(
    custom: Callable[[str], PreTrainedTokenizerBase],
) -> None:
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    tokenizer = custom(refusal + GOOD)
    assert encode_prompt(tokenizer, DIALOGUE[1:2])
    with pytest.raises(TemplateError, match="refuses a chat of system, user: no system; choose"):
        encode_prompt(tokenizer, DIALOGUE[:2])


def test_text_between_reply_and_stop_token_is_learnt_too(
    custom: Callable[[str], PreTrainedTokenizerBase],
) -> None:
    tokenizer = custom(GOOD.replace("+ '<|im_end|>", "+ ' .<|im_end|>"))
    sample = encode_sample(tokenizer, (ChatTurn("user", "Hi"),), "Hello")
    assert learnt(tokenizer, sample) == "Hello .<|im_end|>"


def test_one_sided_trimming_is_followed(custom: Callable[[str], PreTrainedTokenizerBase]) -> None:
    tokenizer = custom(LOOP.replace("%s", "m.content.rstrip()") + ASK)
    sample = encode_sample(tokenizer, (ChatTurn("user", "Hi"),), "\n Hello \n")
    assert learnt(tokenizer, sample) == "\n Hello<|im_end|>"


def test_the_date_is_the_same_every_day(custom: Callable[[str], PreTrainedTokenizerBase]) -> None:
    today = "{{ date_string if date_string is defined else strftime_now('%d %b %Y') }}"
    tokenizer = custom("<|im_start|>" + today + GOOD)
    assert "26 Jul 2024<|im_start|>user" in tokenizer.decode(
        encode_prompt(tokenizer, (ChatTurn("user", "Hi"),))
    )


@pytest.mark.parametrize(
    ("template", "preserving", "stops"),
    [(GOOD, True, True), (THINKS, False, True), (FIRST, False, True)],
)
def test_bad_templates_are_told_from_good_ones(
    custom: Callable[[str], PreTrainedTokenizerBase], template: str, preserving: bool, stops: bool
) -> None:
    tokenizer = custom(template)
    assert is_prefix_preserving(tokenizer) is preserving
    assert is_stop_token_trained(tokenizer) is stops


def test_a_template_without_stop_token_trains_none(
    custom: Callable[[str], PreTrainedTokenizerBase],
) -> None:
    assert not is_stop_token_trained(custom(NO_STOP))


def test_our_templates_keep_prefixes_and_train_the_stop_token(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    assert is_prefix_preserving(tokenizer)
    assert is_stop_token_trained(tokenizer)


def test_a_chat_without_turns_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(TemplateError, match="the chat has no turns"):
        encode_prompt(tokenizer, ())


def test_half_a_character_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(TemplateError, match=r"text that is not valid Unicode: \['a.ud83cb'\]"):
        encode_prompt(tokenizer, (ChatTurn("user", "a\ud83cb"),))


def test_a_tokenizer_without_template_is_refused(tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    tokenizer.chat_template = None
    with pytest.raises(TemplateError, match="has no chat template; choose one with chat_template:"):
        encode_prompt(tokenizer, DIALOGUE[:2])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("llama31", "'llama31' is no readable file and none of chatml, llama3, llama3_1; did you"),
        (
            "no/such.jinja",
            "'no/such.jinja' is no readable file and none of chatml, llama3, llama3_",
        ),
    ],
)
def test_an_unknown_template_is_named(tiny_model: Path, name: str, message: str) -> None:
    with pytest.raises(TemplateError) as caught:
        load_tokenizer(tiny_model, name)
    assert message in str(caught.value)


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(TemplateError) as caught:
        load_tokenizer(tmp_path)
    assert str(caught.value).startswith(f"no tokenizer can be loaded from {tmp_path}: ")
    assert str(caught.value).endswith("; give a model folder or a hub name")
    assert "\n" not in str(caught.value)


def test_padding_takes_llamas_reserved_token_or_the_end_token(
    tiny_model: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(tiny_model)
    assert tokenizer.pad_token == "<|finetune_right_pad_id|>"
    kept = json.loads((tiny_model / "tokenizer.json").read_text(encoding="utf-8"))
    text = json.dumps(kept).replace("<|finetune_right_pad_id|>", "<|reserved|>")
    (tmp_path / "tokenizer.json").write_text(text, encoding="utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    assert load_tokenizer(tmp_path).pad_token == "<|im_end|>"
