"""Which model, how to generate, through which engine: the keys of Oumi's inference files.

::

    model:
      model_name: meta-llama/Llama-3.1-8B-Instruct
      torch_dtype_str: bfloat16
    generation:
      max_new_tokens: 512
    engine: NATIVE

`ModelConfig` is also the `model` section of a training file.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, SecretStr

from coalm.config import ConfigModel
from coalm.engines.base import SamplingParams

EngineName: TypeAlias = Literal["hf", "vllm", "openai", "scripted"]
DtypeName: TypeAlias = Literal["auto", "float32", "float16", "bfloat16", "float64"]

_ENGINES: dict[str, EngineName] = {
    "NATIVE": "hf",
    "VLLM": "vllm",
    "OPENAI": "openai",
    "REMOTE": "openai",
    "REMOTE_VLLM": "openai",
    "SCRIPTED": "scripted",
}
_ENGINES_OF_OUMI = """
    ANTHROPIC BEDROCK CEREBRAS DEEPSEEK FIREWORKS GEMINI GOOGLE_GEMINI GOOGLE_VERTEX
    HUGGING_FACE_ROUTER LAMBDA LLAMACPP OPENROUTER PARASAIL SAMBANOVA SGLANG TOGETHER"""
_DTYPES: dict[str, DtypeName] = {
    "f32": "float32",
    "float": "float32",
    "f16": "float16",
    "half": "float16",
    "bf16": "bfloat16",
    "f64": "float64",
    "double": "float64",
}


def _engine_name(value: Any) -> Any:
    """Oumi's name of an engine, or ours, as ours; anything but text is left to the type check."""
    if not isinstance(value, str) or value in _ENGINES.values():
        return value
    name = value.upper()
    if name in _ENGINES:
        return _ENGINES[name]
    choice = f"use one of {', '.join(_ENGINES)}"
    if name in _ENGINES_OF_OUMI.split():
        raise ValueError(f"Oumi has an engine {name}, coalm has not; {choice}")
    near = get_close_matches(name, _ENGINES, n=1)
    hint = f"did you mean {near[0]}?" if near else choice
    raise ValueError(f"there is no engine '{value}'; {hint}")


def _dtype_name(value: Any) -> Any:
    return _DTYPES.get(value, value) if isinstance(value, str) else value


def _template_name(value: Any) -> Any:
    return None if value == "auto" else value


class ModelConfig(ConfigModel):
    """The model, its tokenizer, and an adapter on top of it."""

    foreign: ClassVar[str] = """
        adapter_trainable chat_template_kwargs compile device_map freeze_layers model_kwargs
        model_revision processor_kwargs shard_for_eval text_only tokenizer_kwargs tokenizer_name
        tool_call_parser"""
    without_effect: ClassVar[Mapping[str, str]] = {
        "load_pretrained_weights": "coalm always starts from the model's weights",
    }

    model_name: str = Field(min_length=1)
    """Directory of the model, or its name on the Hugging Face hub."""
    adapter_model: str | None = None
    """Directory of a LoRA adapter to put on the model; training goes on from it."""
    model_max_length: int | None = Field(default=None, ge=1)
    """Tokens of context; longer training samples are refused. None is what the model allows."""
    torch_dtype_str: Annotated[DtypeName, BeforeValidator(_dtype_name)] = "auto"
    """Number type of the weights. `auto` generates in bfloat16 where the hardware computes in it,
    else in float16 on a GPU and float32 on a CPU. It trains in the type they are stored in, but for
    a CPU: float32 where bfloat16 would be emulated, and else bfloat16 for LoRA."""
    attn_implementation: str | None = None
    """`sdpa`, `eager`, `flash_attention_2` or any name that transformers knows; None lets it
    choose."""
    load_pretrained_weights: bool = True
    """Always true in effect: coalm has no training from nothing."""
    trust_remote_code: bool = False
    """Let the model's repository run its own code on this machine; needs the flag
    `--trust-remote-code` besides this key."""
    tokenizer_pad_token: str | None = None
    """Padding token; None takes the tokenizer's own."""
    chat_template: Annotated[str | None, BeforeValidator(_template_name)] = None
    """Chat template in place of the tokenizer's own (None or `auto`)."""
    enable_liger_kernel: bool = False
    """Train with the fused kernels of the package liger-kernel, where it and a GPU are there."""


class GenerationConfig(ConfigModel):
    """How to draw the tokens of an answer."""

    foreign: ClassVar[str] = """
        engine exclude_prompt_from_response frequency_penalty guided_decoding input_filepath
        logit_bias min_p num_beams output_filepath parallel_tool_calls presence_penalty
        prompt_cache_ttl reasoning_effort remote_params skip_special_tokens stop_token_ids stream
        stream_options tool_choice tools use_cache use_sampling"""
    renamed: ClassVar[Mapping[str, str]] = {"stop": "stop_strings"}

    max_new_tokens: int = Field(default=1024, ge=1)
    """The answer ends here at the latest."""
    batch_size: int | None = Field(default=16, ge=1)
    """Answers that the hf engine and a server have under way at once; an evaluation has as many
    dialogues under way, twice as many with an engine that chooses among their prompts."""
    cache_tokens: int | None = Field(default=None, ge=1)
    """Tokens whose keys and values the hf engine keeps, running answers included; None is 12288.
    One of Llama 3.1 8B takes 128 KiB in bfloat16, of 70B 320 KiB, of SmolLM2-135M 22.5 KiB."""
    temperature: float = Field(default=0.0, ge=0.0)
    """0 takes the most likely token at every step."""
    top_p: float | None = Field(default=None, gt=0.0, le=1.0)
    """Draw from the smallest set of tokens with this much probability; None is all of them."""
    seed: int | None = None
    """Makes sampled answers repeatable."""
    guided: bool = False
    """Calls can always be read and fit their tools: engines `hf` and `vllm` write nothing else."""
    stop_strings: tuple[str, ...] | None = None
    """The answer ends before the first of these texts, in addition to those of the format."""

    def sampling(self) -> SamplingParams:
        """These settings as engines take them."""
        return SamplingParams(
            max_new_tokens=self.max_new_tokens,
            temperature=self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            stop=self.stop_strings or (),
            seed=self.seed,
        )


class RemoteConfig(ConfigModel):
    """Where an OpenAI-compatible endpoint is, and how to treat it."""

    foreign: ClassVar[str] = """
        batch_completion_window input_token_limit input_tokens_per_minute output_token_limit
        output_tokens_per_minute politeness_policy requests_per_min requests_per_minute
        use_adaptive_concurrency user_id"""

    api_url: str | None = None
    """Address of the endpoint, with or without `/v1` and `/chat/completions`; None is OpenAI."""
    api_key: SecretStr | None = None
    """Key of the endpoint; never printed or written. Better: `api_key_env_varname`."""
    api_key_env_varname: str | None = None
    """Environment variable that holds the key; for OpenAI itself OPENAI_API_KEY."""
    max_retries: int = Field(default=3, ge=0)
    """Further attempts after a request that failed."""
    connection_timeout: float = Field(default=300.0, gt=0.0)
    """Seconds until an unanswered request counts as failed."""
    retry_backoff_base: float = Field(default=1.0, gt=0.0)
    """Seconds before the second attempt; twice as many before each further one."""
    retry_backoff_max: float = Field(default=30.0, gt=0.0)
    """The longest of these pauses; a longer one that the endpoint asks for is kept."""
    num_workers: int = Field(default=1, ge=1)
    """Requests under way at the same time."""
    tokenizer: str | None = None
    """Folder or hub name of the model's tokenizer; prompts then go as token ids made here, which
    vLLM's `/v1/completions` takes. None sends chat messages."""


class VllmConfig(ConfigModel):
    """How the engine `vllm` spreads a model, and what memory it takes."""

    tensor_parallel_size: int | None = Field(default=None, ge=1)
    """GPUs that share every layer; None is all of this machine."""
    pipeline_parallel_size: int = Field(default=1, ge=1)
    """Groups of such GPUs that the layers are divided among; machines, as a rule."""
    distributed_executor_backend: Literal["mp", "ray"] | None = None
    """What starts the workers: processes of this machine, or Ray, which reaches others; None lets
    vLLM choose."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0.0, le=1.0)
    """Share of every GPU that weights and cache may take."""
    quantization: str | None = None
    """`fp8` quantizes 16-bit weights on loading. A checkpoint that is quantized says so itself."""
    enforce_eager: bool = False
    """Compile nothing: a start is faster, the answers slower."""


class InferConfig(ConfigModel):
    """A whole inference file: `coalm chat -c`, `coalm infer -c`, and the engine of `coalm eval`."""

    foreign: ClassVar[str] = "input_path output_path progress_path style"

    model: ModelConfig
    generation: GenerationConfig = GenerationConfig()
    engine: Annotated[EngineName, BeforeValidator(_engine_name)] = "hf"
    """Oumi's names in any case (NATIVE, VLLM, OPENAI, REMOTE, REMOTE_VLLM), SCRIPTED, or ours."""
    remote_params: RemoteConfig | None = None
    """For the engine `openai`."""
    vllm: VllmConfig = VllmConfig()
    """For the engine `vllm`."""
