"""The back ends out of the official wheel, and verdicts on dialogues with them."""

from __future__ import annotations

import decimal
import sys
from typing import Any

import pytest

from coalm import assets
from coalm.evals.bfcl.data import ASSET, Entry, entries_by_id
from coalm.evals.bfcl.simulators import Simulators
from coalm.evals.bfcl.state_check import judge_calls, judge_dialogue, read_calls

pytestmark = pytest.mark.skipif(
    not assets.state(ASSET).present, reason=f"the asset {ASSET} is not on this machine"
)
FILES = {
    "root": {
        "home": {
            "type": "directory",
            "contents": {
                "a.txt": {"type": "file", "content": "one\ntwo"},
                "box": {"type": "directory", "contents": {}},
            },
        }
    }
}


def dialogue(*turns: list[str], kind: str = "multi_turn_base") -> Entry:
    """An entry about a small file system whose official answer is `turns`."""
    config = {"GorillaFileSystem": FILES}
    classes = ["GorillaFileSystem", "MathAPI"]
    return Entry(f"{kind}_7", [], [], [*turns], initial_config=config, classes=classes)


def test_results_are_text() -> None:
    simulators = Simulators(dialogue())
    assert simulators.run("cat(file_name='a.txt')") == '{"file_content": "one\\ntwo"}'
    assert simulators.run("touch('b.txt')") == "None"
    assert simulators.run("logarithm(100, base=10, precision=5)") == "{'result': mpf('2.0')}"
    assert simulators.run("mean([1, 2])") == '{"result": 1.5}'


@pytest.mark.parametrize(
    "call",
    [
        "_load_scenario({})",
        "__init__()",
        "GorillaFileSystem.ls()",
        "ls",
        "print(ls())",
        "cat(name='a.txt')",
        "cat()",
        "cat(file_name=open('x'))",
        "wc(file_name=['a'])",
        "power(base=9, exponent=10**9)",
        "power(base=9, exponent=1000000000)",
        "logarithm(value=2, base=3, precision=1000000000)",
        "square_root(number=2, precision=1000000000)",
        "round_number(number=5, decimal_places=-1000000000)",
        "multiply(a=10**4000, b=10**4000)",
        "add(a='\ud800', b=('x',))" + ")" * 3,
        "",
    ],
)
def test_what_fails_is_an_error_text(call: str) -> None:
    assert Simulators(dialogue()).run(call).startswith("Error during execution: ")


def test_small_powers_and_precisions_are_computed() -> None:
    simulators = Simulators(dialogue())
    assert simulators.run("power(base=2, exponent=100)") == f'{{"result": {2**100}}}'
    assert simulators.run("power(base=1, exponent=1000000000)") == '{"result": 1}'
    assert simulators.run("power(base=2, exponent=-2)") == '{"result": 0.25}'
    assert simulators.run("square_root(2, precision=5)") == "{'result': Decimal('1.4142')}"


def test_precision_is_left_as_it_was() -> None:
    simulators = Simulators(dialogue())
    before = decimal.getcontext().prec, sys.modules["mpmath"].mp.dps
    simulators.run("square_root(2, precision=5)")
    simulators.run("logarithm(2, 3, precision=50)")
    assert (decimal.getcontext().prec, sys.modules["mpmath"].mp.dps) == before


def test_folders_that_multiply_do_not_keep_the_scorer_busy() -> None:
    simulators = Simulators(dialogue())
    last = "box"
    for number in range(40):
        for call in (
            f"mkdir('n{number}')",
            f"cp('{last}', 'n{number}')",
            f"mv('{last}', 'twin')",
            f"cp('twin', 'n{number}')",
            "rm('twin')",
        ):
            simulators.run(call)
        last = f"n{number}"
    for call in ("find()", "du()"):
        assert simulators.run(call) == "Error during execution: more than 50000 files and folders"


def test_every_entry_starts_afresh() -> None:
    entry = dialogue()
    first = Simulators(entry)
    first.run("rm('a.txt')")
    second = Simulators(entry)
    assert second.difference(first) == "GorillaFileSystem.root"
    assert Simulators(entry).difference(second) is None


def test_long_lists_of_one_entry_do_not_reach_another() -> None:
    entry = entries_by_id()["multi_turn_long_context_199"]
    first, second = Simulators(entry), Simulators(entry)
    cards: Any = vars(first.instances["TravelAPI"])["credit_card_list"]
    for card in cards.values():
        card["balance"] = -1
    assert second.difference(first) == "TravelAPI.credit_card_list"
    assert Simulators(entry).difference(second) is None


TRUTH = dialogue(["cd('box')", "touch('b.txt')"], [], ["cd('..')", "cat('a.txt')"])
GOOD = [[["cd('box')", "touch('b.txt')"]], [], [["cd('..')"], ["cat('a.txt')"]]]


@pytest.mark.parametrize(
    ("turns", "error_type"),
    [
        (GOOD, None),
        ([GOOD[0], [["ls()"]], GOOD[2]], None),
        ([[["cd('box')", "touch('b.txt')", "ls()", "no()"]], [], GOOD[2]], None),
        ([[["cat('a.txt')"], *GOOD[0]], [], [["cd('..')"]]], None),
        ([GOOD[0], [["touch('c.txt')"]], GOOD[2]], "instance_state_mismatch"),
        ([[["touch('b.txt')"]], [], GOOD[2]], "instance_state_mismatch"),
        ([GOOD[0], [], [["cd('..')"]]], "execution_response_mismatch"),
        ([GOOD[0], [], []], "empty_turn_model_response"),
        ([GOOD[0], [], [[], [""]]], "empty_turn_model_response"),
        ([GOOD[0], []], "force_terminated"),
        ([*GOOD, []], "force_terminated"),
    ],
)
def test_verdicts(turns: list[list[list[str]]], error_type: str | None) -> None:
    assert judge_calls(TRUTH, turns).error_type == (error_type and f"multi_turn:{error_type}")


def test_results_count_as_often_as_they_are_expected() -> None:
    entry = dialogue(["mean([1])", "mean([1])"])
    assert judge_calls(entry, [[["mean([1])", "mean([1])"]]]).valid
    verdict = judge_calls(entry, [[["mean([1])"]]])
    assert verdict.error_type == "multi_turn:execution_response_mismatch"
    assert verdict.explanation == "turn 0 lacks the result '{\"result\": 1.0}'"


def test_replies_are_read_as_text() -> None:
    replies = [
        ["[cd(folder='box'), touch(file_name='b.txt')]", "Done."],
        ["I need more."],
        ["cd(folder='..')", "[cat(file_name='a.txt')]"],
    ]
    assert judge_dialogue(TRUTH, replies).valid


@pytest.mark.parametrize("replies", ["Error during inference", None, {}])
def test_a_dialogue_that_failed(replies: object) -> None:
    assert judge_dialogue(TRUTH, replies).error_type == "multi_turn:inference_error"


@pytest.mark.parametrize(
    ("reply", "calls"),
    [
        ("[f(a=1), g()]", ["f(a=1)", "g()"]),
        ("[]", []),
        ("no", []),
        ("f(a={})", []),
        (None, []),
        (["f()"], []),
    ],
)
def test_calls_of_a_reply(reply: object, calls: list[str]) -> None:
    assert read_calls(reply) == calls


def test_a_folder_within_itself_is_another_state() -> None:
    entry = dialogue(["ls()"])
    verdict = judge_calls(entry, [[["cp('box', 'box')", "ls()"]]])
    assert verdict.error_type == "multi_turn:instance_state_mismatch"


def test_only_so_many_calls_of_a_reply_are_run() -> None:
    entry = dialogue(["touch('b.txt')"])
    late = [*["ls()"] * 200, "touch('b.txt')"]
    assert judge_calls(entry, [[late]]).error_type == "multi_turn:instance_state_mismatch"
    assert judge_calls(entry, [[late[1:]]]).valid
