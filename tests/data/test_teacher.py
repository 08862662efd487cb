"""A teacher rewrites a finished build: what it says, what is refused, and what a kill costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from coalm import jsonl
from coalm.config import load_config
from coalm.data import DataConfig, Manifest, Teacher, build, load_sources
from coalm.engines.config import InferConfig
from coalm.engines.scripted_endpoint import Fault, ScriptedEndpoint
from coalm.errors import ConfigError, DataError, EngineError, FormatError
from coalm.types import Conversation, Prompt

pytest.importorskip("openai")

SGD = Path(__file__).parents[1] / "fixtures" / "sgd"
FAULTS = [
    Fault(429, "{}", {"Retry-After": "0.02"}),
    Fault(500, "oops"),
    None,
    Fault(delay=0.8),
    Fault(200, '{"choices": [{"mess'),
    Fault(drop=True),
    None,
    Fault(200, '{"choices": []}'),
]


def step_of(prompt: Prompt) -> str:
    (text,) = re.findall(r"NEXT STEP\]\n(.*)\n\[END OF NEXT", prompt[-1].content, re.DOTALL)
    return text


def think(prompt: Prompt) -> str:
    """A good thought before any step."""
    called = re.match(r"Action: (.+?)\(", step_of(prompt))
    if called:
        return f"Thought: All is known that {called[1]} needs, so I call it."
    return "I tell the user what there is to say."


def act(prompt: Prompt) -> str:
    """A good turn: the call is one without arguments; good only where none is required."""
    called = re.search(r"The next step is an action that calls (.+)\.\n", prompt[-1].content)
    if called:
        return f"Thought: I call {called[1]}.\nAction: {called[1]}()"
    return "Thought: Nothing has to be called, so I ask what else to do.\nSystem: What else?"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A grounded build of the SGD fixture."""
    folder = tmp_path_factory.mktemp("built")
    config = configure(folder / "grounded", folder / "none")
    build(config, load_sources(config))
    return folder / "grounded"


def configure(grounded: Path, taught: Path, *words: str) -> DataConfig:
    keys = [
        *(f"output_dir={grounded}", "sources=[sgd, sgd_calls]", "workers=1"),
        *(f"sgd.path={SGD}", f"sgd_calls.path={SGD}", "validation_share=0.3"),
        *(f"teacher.output_dir={taught}", "teacher.infer=teacher.yaml"),
    ]
    return load_config(DataConfig, None, [*keys, *words]).config


@pytest.fixture
def teach(built: Path, tmp_path: Path) -> Callable[..., Manifest]:
    """Run a teacher over the build; the last endpoint's requests are kept in `teach.asked`."""

    def run(
        *words: str,
        answer: Callable[[Prompt], str] = think,
        faults: list[Fault | None] | None = None,
        name: str = "taught",
        tries: int = 20,
    ) -> Manifest:
        config = configure(built, tmp_path / name, *words)
        with ScriptedEndpoint(answer, faults or []) as endpoint:
            infer = infer_config(endpoint.url, tries)
            with closing(Teacher(config, infer)) as teacher:
                questions = teacher.open_questions
                with closing(teacher.load()) as engine:
                    costs = list(teacher.ask(engine))
                assert len(costs) == questions
                run.asked = len(endpoint.requests)
                return teacher.build()

    return run


def infer_config(url: str, tries: int) -> InferConfig:
    words = ["model.model_name=big", "engine=OPENAI", f"remote_params.api_url={url}"]
    words += ["remote_params.num_workers=4", "remote_params.connection_timeout=0.4"]
    words += [f"remote_params.max_retries={tries}", "remote_params.retry_backoff_base=0.01"]
    return load_config(InferConfig, None, [*words, "remote_params.retry_backoff_max=0.05"]).config


def read(folder: Path) -> dict[str, Conversation]:
    rows = [
        row for name in ("train", "validation") for _, row in jsonl.read(folder / f"{name}.jsonl")
    ]
    return {row["id"]: Conversation.model_validate(row) for row in rows}


def test_thoughts_are_the_teacher_s_and_all_else_stays(
    teach: Callable[..., Manifest], built: Path, tmp_path: Path
) -> None:
    manifest = teach()
    before, after = read(built), read(tmp_path / "taught")
    assert list(before) == list(after)
    for name, sample in after.items():
        for message, grounded in zip(sample.messages, before[name].messages, strict=True):
            if message.thought is not None:
                assert re.match(r"All is known that \w+ needs|I tell the user", message.thought)
            assert message.model_copy(update={"thought": grounded.thought}) == grounded
    report = manifest.sources["teacher"]
    assert report.rejected == {}
    counts = report.counts
    taught = [s for s in before.values() if s.messages[-1].thought is not None]
    assert counts["samples taught"] == len(taught) > 20
    assert counts["samples without a thought"] == len(before) - len(taught) > 0
    assert counts["completion tokens"] > counts["answers"] > 0
    assert counts["prompt tokens"] > 100 * counts["answers"]


def test_a_second_run_costs_nothing_and_writes_the_same(
    teach: Callable[..., Manifest], tmp_path: Path
) -> None:
    first = teach()
    assert teach.asked > 20
    second = teach(answer=lambda p: "never asked")
    assert teach.asked == 0
    assert second == first


def test_an_endpoint_with_faults_loses_nothing(teach: Callable[..., Manifest]) -> None:
    clean = teach(name="clean")
    faulty = teach(name="faulty", faults=FAULTS * 3)
    assert teach.asked >= 20 + len(FAULTS)
    assert faulty.files["train.jsonl"] == clean.files["train.jsonl"]
    assert faulty.files["validation.jsonl"] == clean.files["validation.jsonl"]
    assert faulty.rows == clean.rows


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("", "the thought is not one short line"),
        ("I tell them.\nAnd more.", "the thought is not one short line"),
        ("I tell them " + "again and " * 60, "the thought is not one short line"),
        ("Thought: I tell them.\nSystem: Hello", "the answer has more than a thought"),
        ("Thought: I tell.\nAction: Call(", "the answer has more than a thought"),
        ("I do it.", "the answer violates the criterion thought"),
    ],
)
def test_a_thought_that_cannot_be_used_drops_its_sample(
    teach: Callable[..., Manifest], built: Path, tmp_path: Path, said: str, reason: str
) -> None:
    calls = [
        n for n, s in read(built).items() if s.messages[-1].thought and s.messages[-1].tool_calls
    ]

    def answer(prompt: Prompt) -> str:
        return said if step_of(prompt).startswith("Action:") else think(prompt)

    report = teach(answer=answer).sources["teacher"]
    assert report.rejected == {reason: len(calls)}
    after = read(tmp_path / "taught")
    assert not set(calls) & set(after)
    rejected = [row for _, row in jsonl.read(tmp_path / "taught" / "rejected.jsonl")]
    assert sorted(row["where"] for row in rejected) == sorted(calls)
    # in the history of later samples our own thought stays
    histories = [m for s in after.values() for m in s.messages if m.thought and m.tool_calls]
    assert histories
    assert not any(m.thought == said for m in histories)


def test_turns_are_taken_where_they_fit(
    teach: Callable[..., Manifest], built: Path, tmp_path: Path
) -> None:
    report = teach("teacher.mode=turns", answer=act).sources["teacher"]
    assert report.rejected.keys() == {"the answer violates the criterion arguments"}
    before, after = read(built), read(tmp_path / "taught")
    for name, sample in after.items():
        target = sample.messages[-1]
        if target.thought is not None:
            assert target.content == "" if target.tool_calls else "What else?"
            assert all(call.arguments == {} for call in target.tool_calls)
            assert sample.messages[:-1] == before[name].messages[:-1]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "Thought: I ask.\nSystem: The price is 77123 dollars.",
            "the reply has a number that nobody",
        ),
        ("Thought: I call it.\nAction: FindBus()", "the step is another one"),
        ("Thought: I call it.\nAction: FindBus(", "the action cannot be read"),
        ("Thought: I ask.", "the answer is not either an action or a reply"),
    ],
)
def test_turns_that_are_refused(teach: Callable[..., Manifest], said: str, reason: str) -> None:
    def answer(prompt: Prompt) -> str:
        return act(prompt) if "is an action" in prompt[-1].content else said

    report = teach("teacher.mode=turns", answer=answer).sources["teacher"]
    assert any(found.startswith(reason) for found in report.rejected), report.rejected


def test_questions_without_an_answer_end_the_run_and_are_asked_again(
    teach: Callable[..., Manifest], tmp_path: Path
) -> None:
    refusals = [None, Fault(400, '{"message": "too long"}'), None, Fault(400, "{}")]
    with pytest.raises(
        EngineError, match=r"^2 questions got no answer, the last one because: http"
    ):
        teach(faults=refusals, tries=0)
    assert not (tmp_path / "taught" / "manifest.json").exists()
    manifest = teach()
    assert teach.asked == 2
    assert manifest.sources["teacher"].rejected == {}


def test_questions_without_an_answer_may_be_dropped(teach: Callable[..., Manifest]) -> None:
    refusals = [None, Fault(400, '{"message": "too long"}')]
    manifest = teach("teacher.drop_unanswered=true", faults=refusals, tries=0)
    assert list(manifest.sources["teacher"].rejected) == ["the teacher gave no answer"]


@pytest.mark.parametrize("drop", ["true", "false"])
def test_a_teacher_who_never_answers_ends_the_run(
    teach: Callable[..., Manifest], drop: str
) -> None:
    with pytest.raises(EngineError, match=r"^20 questions got no answer, the last one because: "):
        teach(f"teacher.drop_unanswered={drop}", faults=[Fault(401, "{}")] * 99, tries=0)


def test_a_limit_asks_no_more_than_that(teach: Callable[..., Manifest], tmp_path: Path) -> None:
    teach("teacher.limit=12")
    assert 0 < teach.asked <= 12
    assert len(read(tmp_path / "taught")) == 12


def test_an_instruction_text_of_one_s_own(teach: Callable[..., Manifest], tmp_path: Path) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("{tools}{dialogue}[NEXT STEP]\n{step}\n[END OF NEXT STEP]")
    seen: list[str] = []
    teach(f"teacher.instructions={text}", answer=lambda p: seen.append(p[0].content) or think(p))
    assert all(found.startswith("1. ") for found in seen)
    text.write_text("{tools}")
    with pytest.raises(FormatError, match=r"mine\.txt lacks the place \{dialogue\}"):
        teach(f"teacher.instructions={text}")


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["teacher=null"], ConfigError, "the data file has no section `teacher`"),
        (["teacher.output_dir={built}"], ConfigError, "holds the build that the teacher reads"),
        (["teacher.path={tmp}/nothing"], DataError, "no manifest.json, so this is no finished"),
        (["teacher.cache={tmp}/cache"], DataError, "cache:2: no line of a teacher's cache"),
    ],
)
def test_what_cannot_be_taught_is_named(
    built: Path, tmp_path: Path, words: list[str], error: type[Exception], message: str
) -> None:
    good = {"key": "k", "completion": ["a", [], "stop", [1, 2]]}
    (tmp_path / "cache").write_text(f'{json.dumps(good)}\n{{"key": 3}}\n')
    filled = [word.format(built=built, tmp=tmp_path) for word in words]
    config = configure(built, tmp_path / "taught", *filled)
    with pytest.raises(error, match=message):
        Teacher(config, infer_config("http://127.0.0.1:9", 0))


def test_a_killed_run_asks_nothing_twice_and_writes_the_same(
    teach: Callable[..., Manifest], built: Path, tmp_path: Path
) -> None:
    clean = teach(name="clean")
    questions = teach.asked
    taught = tmp_path / "killed"
    with ScriptedEndpoint(lambda p: time.sleep(0.05) or think(p)) as endpoint:
        command = commands(built, taught, endpoint.url, tmp_path)
        for answers in (4, 12):
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            while lines(taught / "teacher_cache.jsonl") < answers:
                assert process.poll() is None
                time.sleep(0.005)
            process.kill()
            process.wait()
        kept = lines(taught / "teacher_cache.jsonl")
        before = len(endpoint.requests)
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert len(endpoint.requests) - before == questions - kept
    assert f"asked {questions - kept}: " in done.stderr
    assert done.stdout.endswith(f"written to {taught}\n")
    manifest = json.loads((taught / "manifest.json").read_text())
    assert manifest["files"]["train.jsonl"] == clean.files["train.jsonl"]


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def commands(built: Path, taught: Path, url: str, folder: Path) -> list[str]:
    infer = folder / "teacher.yaml"
    infer.write_text(
        f"model:\n  model_name: big\nengine: OPENAI\nremote_params:\n  api_url: {url}\n"
        "  num_workers: 4\n"
    )
    data = folder / "data.yaml"
    data.write_text(
        f"output_dir: {built}\nsources: [sgd, sgd_calls]\nvalidation_share: 0.3\nworkers: 1\n"
        f"teacher:\n  output_dir: {taught}\n  infer: {infer}\n"
    )
    return [sys.executable, "-m", "coalm", "data", "teach", "-c", str(data)]
