"""The real data sets, whole: what coalm-it's builders must find in them."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import pytest

from coalm.data.config import (
    SealToolsConfig,
    SgdCallsConfig,
    SgdConfig,
    SgdRequestsConfig,
    SnipsConfig,
)
from coalm.data.files import Copy
from coalm.data.sealtools import SealToolsSource
from coalm.data.sgd import SgdCallsSource, SgdSource
from coalm.data.sgd_requests import SgdRequestsSource
from coalm.data.snips import SnipsSource
from coalm.formats import get_format
from coalm.tools import check_arguments
from coalm.types import ToolCall

pytestmark = pytest.mark.real
PARTS = ("dev", "test_in_domain", "test_out_domain")
"""Of Seal-Tools; its train.jsonl need not be there."""


def folder(name: str) -> Path:
    data = os.environ.get("COALM_DATA")
    if not data or not (Path(data) / name).is_dir():
        pytest.skip(f"COALM_DATA does not name a folder with {name}/ in it")
    return Path(data) / name


def test_snips_is_whole() -> None:
    source = SnipsSource(Copy(folder("snips"), "snips"), SnipsConfig(), 7)
    samples = list(source.conversations())
    assert not source.ledger.missing
    # 13,784 sentences in train-full, 700 in validate
    assert source.ledger.reasons() == {"sentence is in the validation files too": 11}
    assert source.ledger.counts["train sentences"] == 13_784 - 11
    assert source.ledger.counts["validation sentences"] == 700
    repeated = [
        sample
        for sample in samples
        if any(isinstance(v, list) for v in sample.messages[-1].tool_calls[0].arguments.values())
    ]
    assert len(repeated) == pytest.approx(61, abs=8)  # 61 in train, some more in validate
    assert {len(sample.tools) for sample in samples} == {7}
    assert sum(len(tool.properties) for tool in samples[0].tools) == 53
    assert any("\U0001f355" in sample.messages[0].content for sample in samples)


def test_all_turns_of_sgd_are_samples_or_named() -> None:
    source = SgdSource(Copy(folder("sgd"), "sgd"), SgdConfig(), 7)
    prompt_format = get_format("react")
    parts: Counter[str] = Counter()
    for number, sample in enumerate(source.conversations()):
        parts[sample.id.rpartition("/")[2]] += 1
        *context, target = sample.messages
        for call in target.tool_calls:
            schema = next(tool for tool in sample.tools if tool.name == call.name)
            assert check_arguments(schema, call.arguments) == call.arguments
        if number % 200 == 0:
            prompt_format.render(sample.model_copy(update={"messages": tuple(context)}))
            assert prompt_format.parse(prompt_format.render_reply(target)) == target
    dropped = Counter(r.where.rpartition("/")[2] for r in source.ledger.rejected)
    assert parts["call"] + dropped["call"] == 33_963
    assert parts["reply"] + dropped["reply"] == 111_878
    assert source.ledger.counts["dialogues"] == 12_174
    assert source.ledger.counts["shards"] == 96
    assert len(source.ledger.missing) == 31
    assert source.ledger.missing[0] == "train/dialogues_037.json"


def test_cutting_results_takes_no_ground_from_any_reply() -> None:
    reasons = []
    for result_rows in (1, None):
        config = SgdConfig(split="dev", result_rows=result_rows)
        source = SgdSource(Copy(folder("sgd"), "sgd"), config, 7)
        sizes = Counter(
            sum(len(json.loads(m.content)) for m in sample.messages if m.role == "tool")
            for sample in source.conversations()
        )
        reasons.append((source.ledger.rejected, sizes.total()))
        assert sizes.total() > 20_000
    assert reasons[0] == reasons[1]


def test_requests_have_the_calls_of_sgd_itself() -> None:
    copy = Copy(folder("sgd"), "sgd")
    calls: dict[str, ToolCall] = {}
    for sample in SgdCallsSource(copy, SgdCallsConfig(no_call=0.0), 7).conversations():
        dialogue, _, turn = sample.id.removesuffix("/json").rpartition("/")
        calls[f"{dialogue}/{int(turn) - 1:02}/request"] = sample.messages[-1].tool_calls[0]
    equal: Counter[bool] = Counter()
    for sample in SgdRequestsSource(copy, SgdRequestsConfig(tools="own"), 7).conversations():
        if (theirs := calls.get(sample.id)) is None:
            continue
        (ours,) = sample.messages[-1].tool_calls
        assert ours.name.endswith(theirs.name)
        # theirs may have values of earlier turns, too
        assert ours.arguments.items() <= theirs.arguments.items()
        equal[ours.arguments == theirs.arguments] += 1
    assert equal == {True: 2_920, False: 21}


def test_seal_tools_gives_every_request_that_can_be_answered_at_once() -> None:
    config = SealToolsConfig(parts=PARTS)
    source = SealToolsSource(Copy(folder("sealtools"), "sealtools"), config, 7)
    samples = list(source.conversations())
    assert not source.ledger.missing
    assert source.ledger.counts["tools"] == 4_076
    assert source.ledger.reasons()["a call needs the result of another"] == 28 + 30 + 27
    assert len(samples) + len(source.ledger.rejected) == 700 + 700 + 654


def test_one_service_dialogues_give_two_samples_a_turn() -> None:
    config = SgdConfig(services="one", samples="two_a_turn", tools="own", result_rows=1)
    source = SgdSource(Copy(folder("sgd"), "sgd"), config, 7)
    samples = sum(1 for _ in source.conversations())
    assert samples + len(source.ledger.rejected) == 79_708
    assert source.ledger.counts["calls"] + source.ledger.counts["decisions"] > 39_000
    assert source.ledger.counts["dialogues of several services, passed over"] == 6_899
