from __future__ import annotations

import pytest

from coalm.evals.bfcl.data import Entry
from coalm.evals.bfcl.decode import MAX_CHARS
from coalm.evals.bfcl.single_turn import judge_decoded, judge_reply, judge_undecoded

DOC = {"name": "m.f", "parameters": {"properties": {"a": {"type": "integer"}}, "required": ["a"]}}
SIMPLE = Entry("simple_0", [], [DOC], [{"m.f": {"a": [1]}}])
IRRELEVANCE = Entry("live_irrelevance_0-0-0", [], [], None)
RELEVANCE = Entry("live_relevance_3-3-0", [], [], None)
OVER = f"f(a='{'x' * MAX_CHARS}')"


@pytest.mark.parametrize(
    ("entry", "reply", "error_type"),
    [
        (SIMPLE, "[m.f(a=1)]", None),
        (SIMPLE, "[m.f(a=2)]", "value_error:others"),
        (SIMPLE, "I call m.f(a=1)", "ast_decoder:decoder_failed"),
        (SIMPLE, None, "ast_decoder:decoder_failed"),
        (SIMPLE, OVER, "ast_decoder:decoder_failed"),
        (IRRELEVANCE, "No function fits.", None),
        (IRRELEVANCE, "[]", None),
        (IRRELEVANCE, "[f(]", None),
        (IRRELEVANCE, "[f()]", "irrelevance_error:decoder_success"),
        (IRRELEVANCE, OVER, "ast_decoder:decoder_failed"),
        (RELEVANCE, "[f()]", None),
        (RELEVANCE, "No function fits.", "relevance_error:decoder_failed"),
        (RELEVANCE, "[]", "relevance_error:decoder_failed"),
    ],
)
def test_prompt_models(entry: Entry, reply: object, error_type: str | None) -> None:
    assert judge_reply(entry, reply).error_type == error_type


@pytest.mark.parametrize(
    ("entry", "reply", "error_type"),
    [
        (SIMPLE, [{"m_f": '{"a": 1}'}], None),
        (SIMPLE, [{"m.f": '{"a": 1}'}], "simple_function_checker:wrong_func_name"),
        (SIMPLE, [{"m_f": "[1]"}], "ast_decoder:decoder_wrong_output_format"),
        (SIMPLE, "m_f(a=1)", "ast_decoder:decoder_failed"),
        (IRRELEVANCE, "No function fits.", None),
        (IRRELEVANCE, [], None),
        (IRRELEVANCE, [{"f": "{}"}], "irrelevance_error:decoder_success"),
        (RELEVANCE, [], "relevance_error:decoder_failed"),
    ],
)
def test_function_calling_engines(entry: Entry, reply: object, error_type: str | None) -> None:
    verdict = judge_reply(entry, reply, function_calling=True, underscores=True)
    assert verdict.error_type == error_type


@pytest.mark.parametrize(
    ("entry", "decoded", "error_type"),
    [
        (SIMPLE, None, "ast_decoder:decoder_wrong_output_format"),
        (SIMPLE, [{"m.f": {"a": 1}, "g": {}}], "ast_decoder:decoder_wrong_output_format"),
        (SIMPLE, [], "simple_function_checker:wrong_count"),
        (IRRELEVANCE, [{}], None),
        (RELEVANCE, "text", "relevance_error:decoder_failed"),
    ],
)
def test_decoded_replies(entry: Entry, decoded: object, error_type: str | None) -> None:
    assert judge_decoded(entry, decoded).error_type == error_type


def test_undecoded_replies_keep_the_reason() -> None:
    assert judge_undecoded(IRRELEVANCE, "why").valid
    assert judge_undecoded(SIMPLE, "why").explanation == "why"
    assert judge_undecoded(RELEVANCE, "why").explanation == "why"
