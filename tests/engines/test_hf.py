from __future__ import annotations

import json
import shutil
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file  # noqa: E402

from coalm.chat_template import encode_prompt, load_tokenizer  # noqa: E402
from coalm.config import load_config  # noqa: E402
from coalm.engines import SamplingParams, hf_batch, load_engine  # noqa: E402
from coalm.engines.config import InferConfig  # noqa: E402
from coalm.engines.hf import HfEngine  # noqa: E402
from coalm.errors import CoalmError, EngineError, MissingExtraError  # noqa: E402
from coalm.types import ChatTurn, Prompt  # noqa: E402

GREEDY = SamplingParams(max_new_tokens=10)


def ask(text: str) -> Prompt:
    return (ChatTurn("system", "Go."), ChatTurn("user", text))


PROMPTS = [ask("word " * count) for count in (1, 30, 7, 2, 19)]


@pytest.fixture(scope="module")
def engine(tiny_model: Path) -> HfEngine:
    return HfEngine(tiny_model, dtype="float32")


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model, to be changed."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def rewrite(path: Path, **values: Any) -> None:
    old = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(old | values), encoding="utf-8")


def say_instead(folder: Path, said: int, token: int) -> None:
    """Let the model say `token` wherever it would have said `said`."""
    weights = load_file(folder / "model.safetensors")
    weights["lm_head.weight"][token] = 1.01 * weights["lm_head.weight"][said]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    "options",
    [{}, {"batch_size": 1}, {"batch_size": 3}, {"cache_tokens": 1}, {"cache_tokens": 300}],
)
def test_batches_do_not_change_answers(
    engine: HfEngine, tiny_model: Path, options: dict[str, int]
) -> None:
    alone = [engine.generate([prompt], GREEDY)[0] for prompt in PROMPTS]
    assert HfEngine(tiny_model, dtype="float32", **options).generate(PROMPTS, GREEDY) == alone


def test_greedy_answers_are_those_of_transformers(engine: HfEngine, tiny_model: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    for prompt, answer in zip(PROMPTS, engine.generate(PROMPTS, GREEDY), strict=True):
        ids = encode_prompt(tokenizer, prompt)
        for _ in range(10):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        assert list(answer.token_ids) == ids[-10:]
        assert answer.text == tokenizer.decode(ids[-10:])
        assert answer.usage == (len(ids) - 10, 10)


@pytest.mark.parametrize(("template", "stop"), [("chatml", "<|im_end|>"), ("llama3", "<|eot_id|>")])
def test_an_answer_ends_at_the_stop_token_of_the_template(
    copy: Path, template: str, stop: str
) -> None:
    free = HfEngine(copy, dtype="float32", chat_template=template).generate(PROMPTS, GREEDY)
    said = free[0].token_ids[3]
    stop_id = load_tokenizer(copy).convert_tokens_to_ids(stop)
    say_instead(copy, said, stop_id)
    ended = HfEngine(copy, dtype="float32", chat_template=template).generate(PROMPTS, GREEDY)
    for answer, longer in zip(ended, free, strict=True):
        ids = longer.token_ids
        if said in ids:
            ids = (*ids[: ids.index(said)], stop_id)
        assert answer.token_ids == ids
        assert answer.finish_reason == ("stop" if said in longer.token_ids else "length")
        assert stop not in answer.text
    assert ended[0].finish_reason == "stop"


def test_end_tokens_of_the_checkpoint_count_too(engine: HfEngine, copy: Path) -> None:
    (free,) = engine.generate(PROMPTS[:1], GREEDY)
    rewrite(copy / "generation_config.json", eos_token_id=[3, free.token_ids[2]])
    (answer,) = HfEngine(copy, dtype="float32").generate(PROMPTS[:1], GREEDY)
    assert answer.token_ids == free.token_ids[:3]
    assert answer.finish_reason == "stop"


def test_generation_settings_of_the_checkpoint_do_not_apply(engine: HfEngine, copy: Path) -> None:
    sampled = SamplingParams(max_new_tokens=10, temperature=0.7, seed=1)
    rewrite(
        copy / "generation_config.json",
        do_sample=True,
        temperature=9.0,
        top_k=1,
        top_p=0.1,
        repetition_penalty=9.0,
        no_repeat_ngram_size=1,
        max_new_tokens=2,
        min_new_tokens=2,
        suppress_tokens=[20, 30],
    )
    other = HfEngine(copy, dtype="float32")
    for params in (GREEDY, sampled):
        assert other.generate(PROMPTS, params) == engine.generate(PROMPTS, params)


@pytest.mark.parametrize("length", [1, 3])
def test_a_stop_text_may_be_spelt_letter_by_letter(
    engine: HfEngine, tiny_model: Path, length: int
) -> None:
    tokenizer = load_tokenizer(tiny_model)
    params = SamplingParams(max_new_tokens=100)
    (free,) = engine.generate(PROMPTS[1:2], params)
    texts = [tokenizer.decode([token]) for token in free.token_ids]
    runs = [texts[at : at + length] for at in range(20, 100 - length)]
    stop = next("".join(run) for run in runs if all(len(t) == 1 and t.isascii() for t in run))
    (cut,) = engine.generate(PROMPTS[1:2], params.model_copy(update={"stop": ("no", stop)}))
    assert cut.text == free.text[: free.text.index(stop)]
    assert cut.finish_reason == "stop"
    assert cut.token_ids == free.token_ids[: len(cut.token_ids)]
    assert stop in tokenizer.decode(list(cut.token_ids))
    assert stop not in tokenizer.decode(list(cut.token_ids[:-1]))


def first_tokens(engine: HfEngine, **params: Any) -> Counter[int]:
    copies = engine.generate(
        [PROMPTS[0]] * 400, SamplingParams(max_new_tokens=1, seed=0, temperature=1.0, **params)
    )
    return Counter(answer.token_ids[0] for answer in copies)


@pytest.mark.parametrize("ranked", [3, 1024])
def test_samples_follow_the_models_probabilities(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, ranked: int
) -> None:
    monkeypatch.setattr("coalm.engines.hf_sampling._RANKED", ranked)
    engine = HfEngine(tiny_model, dtype="float32", batch_size=400, cache_tokens=10**6)
    ids = encode_prompt(load_tokenizer(tiny_model), PROMPTS[0])
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    probabilities = model(torch.tensor([ids])).logits[0, -1].softmax(-1).tolist()
    found = first_tokens(engine)
    assert len(found) > 5
    for token, likely in enumerate(probabilities):
        deviation = (400 * likely * (1 - likely)) ** 0.5
        assert abs(found[token] - 400 * likely) < 5 * deviation + 1
    ranked = sorted(range(len(probabilities)), key=lambda token: -probabilities[token])
    nucleus: list[int] = []
    while sum(probabilities[token] for token in nucleus) < 0.6:
        nucleus.append(ranked[len(nucleus)])
    assert len(nucleus) > 3
    assert set(first_tokens(engine, top_p=0.6)) == set(nucleus)


def test_seeds_differ_and_no_seed_means_chance(engine: HfEngine) -> None:
    hot = SamplingParams(max_new_tokens=10, temperature=2.0)
    seeds = [engine.generate(PROMPTS, hot.model_copy(update={"seed": n})) for n in (1, 2)]
    assert seeds[0] != seeds[1]
    assert engine.generate(PROMPTS, hot) != engine.generate(PROMPTS, hot)


def test_a_low_temperature_is_nearly_greedy(engine: HfEngine) -> None:
    cold = SamplingParams(max_new_tokens=10, temperature=1e-4, seed=3)
    assert engine.generate(PROMPTS, cold) == engine.generate(PROMPTS, GREEDY)


def test_copies_of_a_prompt_draw_on_their_own(engine: HfEngine) -> None:
    hot = SamplingParams(max_new_tokens=10, temperature=2.0, seed=5)
    first, second = engine.generate([PROMPTS[0]] * 2, hot)
    assert first != second
    assert engine.generate([PROMPTS[1], PROMPTS[0]], hot)[1] == first


def test_a_prompt_longer_than_the_context_is_refused(engine: HfEngine) -> None:
    with pytest.raises(EngineError) as caught:
        engine.generate([PROMPTS[0], ask("word " * 600)], GREEDY)
    assert str(caught.value).startswith("prompt 2 of 2 has ")
    assert f"and the context of {engine.name} holds 512; shorten it" in str(caught.value)


def test_answers_end_where_the_context_is_full(engine: HfEngine, tiny_model: Path) -> None:
    lengths = [answer.usage.prompt_tokens for answer in engine.generate(PROMPTS, GREEDY)]
    limit = max(lengths) + 3
    short = HfEngine(tiny_model, dtype="float32", max_length=limit)
    long = SamplingParams(max_new_tokens=30)
    answers = zip(short.generate(PROMPTS, long), engine.generate(PROMPTS, long), strict=True)
    for length, (answer, whole) in zip(lengths, answers, strict=True):
        assert answer.usage.completion_tokens == min(30, limit - length)
        assert answer.token_ids == whole.token_ids[: limit - length]
        assert answer.finish_reason == "length"


def test_the_context_is_never_longer_than_the_models(tiny_model: Path) -> None:
    assert HfEngine(tiny_model, max_length=9999).max_length == 512


def test_a_chat_that_the_template_refuses_is_an_engine_error(
    tiny_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "own.jinja"
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    chatml = load_tokenizer(tiny_model, "chatml").get_chat_template()
    path.write_text(refusal + chatml, encoding="utf-8")
    engine = HfEngine(tiny_model, chat_template=str(path))
    with pytest.raises(EngineError, match="refuses a chat of system, user: no system; choose one"):
        engine.generate(PROMPTS, GREEDY)


def without_memory(monkeypatch: pytest.MonkeyPatch, most: int) -> list[int]:
    """Let passes over more than `most` sequences run out of memory; returns their sizes."""
    sizes: list[int] = []
    compute = hf_batch.forward

    def forward(model: Any, strips: list[Any], tokens: Any, ends: Any) -> Any:
        sizes.append(len(strips))
        if len(strips) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return compute(model, strips, tokens, ends)

    monkeypatch.setattr(hf_batch, "forward", forward)
    return sizes


def test_less_runs_at_once_when_memory_runs_out(
    engine: HfEngine, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = engine.generate(PROMPTS, GREEDY)
    sizes = without_memory(monkeypatch, most=2)
    assert HfEngine(tiny_model, dtype="float32").generate(PROMPTS, GREEDY) == expected
    assert 3 in sizes
    assert max(sizes[sizes.index(3) + 1 :]) <= 2


def test_a_lack_of_memory_names_the_key_to_lower(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_memory(monkeypatch, most=0)
    with pytest.raises(EngineError, match=r"no memory left for a prompt of .* \(now 12288\)$"):
        HfEngine(tiny_model).generate(PROMPTS, GREEDY)


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    transformers.set_seed(1)
    config = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft under the newest transformers
        model = peft.get_peft_model(model, config)
        model.save_pretrained(folder, save_embedding_layers=False)  # else it asks the hub
    return folder


def test_an_adapter_speaks(engine: HfEngine, tiny_model: Path, adapter: Path) -> None:
    tuned = HfEngine(tiny_model, adapter=adapter, dtype="float32").generate(PROMPTS, GREEDY)
    assert tuned != engine.generate(PROMPTS, GREEDY)
    base = transformers.AutoModelForCausalLM.from_pretrained(tiny_model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft under the newest transformers
        model = peft.PeftModel.from_pretrained(base, str(adapter))
    ids = torch.tensor([encode_prompt(load_tokenizer(tiny_model), PROMPTS[0])])
    whole = model.generate(input_ids=ids, max_new_tokens=10, do_sample=False)
    assert list(tuned[0].token_ids) == whole[0, ids.shape[1] :].tolist()


def test_the_tokenizer_beside_an_adapter_is_taken(
    tiny_model: Path, adapter: Path, tmp_path: Path
) -> None:
    trained = Path(shutil.copytree(adapter, tmp_path / "trained"))
    load_tokenizer(tiny_model, "llama3_1").save_pretrained(trained)
    lengths = [
        HfEngine(tiny_model, adapter=folder, chat_template=template)
        .generate(PROMPTS[:1], GREEDY)[0]
        .usage.prompt_tokens
        for folder, template in [(adapter, "llama3_1"), (trained, None), (trained, "chatml")]
    ]
    assert lengths[0] == lengths[1] != lengths[2]


def test_a_folder_without_adapter_is_named(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is no LoRA adapter: it holds no adapter_config"):
        HfEngine(tiny_model, adapter=tmp_path)


def test_an_adapter_of_another_model_is_named(copy: Path, adapter: Path) -> None:
    config = transformers.LlamaConfig.from_pretrained(copy, hidden_size=64)
    transformers.LlamaForCausalLM(config).save_pretrained(copy)
    with pytest.raises(EngineError) as caught:
        HfEngine(copy, adapter=adapter)
    assert str(caught.value).startswith(f"the adapter {adapter} does not go with {copy}: ")
    assert "\n" not in str(caught.value)


def test_adapters_need_peft(
    tiny_model: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'coalm\[hf\]'"):
        HfEngine(tiny_model, adapter=adapter)


def test_a_folder_without_model_is_named(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    with pytest.raises(EngineError) as caught:
        HfEngine(copy)
    assert str(caught.value).startswith(f"the model {copy} cannot be loaded: ")
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_named(copy: Path) -> None:
    (copy / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(EngineError, match="cannot be loaded: "):
        HfEngine(copy)


def test_an_unknown_number_type_is_named(tiny_model: Path) -> None:
    with pytest.raises(EngineError, match="no number type 'int4'; use auto or one of: float32, "):
        HfEngine(tiny_model, dtype="int4")


def test_code_of_the_model_does_not_run_unasked(copy: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    (copy / "own.py").write_text(f"open({str(trace)!r}, 'w')", encoding="utf-8")
    auto_map = {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    rewrite(copy / "config.json", model_type="strange", auto_map=auto_map)
    with pytest.raises(CoalmError):
        HfEngine(copy)
    assert not trace.exists()


def test_a_configuration_file_makes_an_engine(engine: HfEngine, tiny_model: Path) -> None:
    overrides = [
        f"model.model_name={tiny_model}",
        "model.torch_dtype_str=float32",
        "model.model_max_length=300",
        "model.attn_implementation=sdpa",
        "generation.cache_tokens=1000",
        "generation.batch_size=2",
        "engine=NATIVE",
    ]
    made = load_engine(load_config(InferConfig, None, overrides).config)
    assert isinstance(made, HfEngine)
    assert made.max_length == 300
    texts = [answer.text for answer in made.generate(PROMPTS, GREEDY)]
    assert texts == [answer.text for answer in engine.generate(PROMPTS, GREEDY)]


def test_another_attention_is_refused(tiny_model: Path) -> None:
    with pytest.raises(EngineError, match="attends by sdpa, not by 'eager'; set attn_implementa"):
        HfEngine(tiny_model, attn_implementation="eager")


@pytest.mark.parametrize("package", ["torch", "transformers"])
def test_a_missing_package_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.delitem(sys.modules, "coalm.engines.hf")
    monkeypatch.setitem(sys.modules, package, None)
    config = InferConfig.model_validate({"engine": "hf", "model": {"model_name": "x"}})
    with pytest.raises(MissingExtraError) as caught:
        load_engine(config)
    assert str(caught.value) == (
        f"{package} is not installed; this feature needs it: pip install 'coalm[hf]'"
    )


@pytest.mark.model
def test_smollm2_answers(smollm2: Path) -> None:
    engine = HfEngine("smollm2-135m-instruct")
    prompts: list[Prompt] = [
        (ChatTurn("user", "What is the capital of France? Answer in one word."),),
        (ChatTurn("user", "Say hello."),),
    ]
    paris, hello = engine.generate(prompts, SamplingParams(max_new_tokens=32))
    assert "Paris" in paris.text
    assert hello.finish_reason == "stop"
