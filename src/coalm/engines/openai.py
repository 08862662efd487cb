"""Any endpoint that speaks OpenAI's protocol: a vLLM server, a cluster behind it, or a provider.

Requests run at the same time, up to a limit, in an event loop of the engine's own, so callers with
and without a loop can use it. What may pass (429, 5xx, timeouts, dropped connections, answers that
cannot be read) is tried again with growing pauses, or after the pause that the endpoint asks for.

Prompts go as chat messages, and the server puts them into its model's template. With a `tokenizer`
they go as token ids made here, as for every other engine; vLLM's `/completions` takes these.
"""

from __future__ import annotations

import asyncio
import email.utils
import itertools
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from coalm.chat_template import encode_prompt, load_tokenizer
from coalm.engines.answers import Answer
from coalm.engines.base import Completion, SamplingParams
from coalm.engines.config import InferConfig, RemoteConfig
from coalm.engines.endpoint import Address, read_answer
from coalm.errors import EngineError, MissingExtraError, TemplateError
from coalm.types import Prompt

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
_OPENAI_KEY = "OPENAI_API_KEY"
_PASSING = (408, 409, 425, 429)
"""Refusals that may be over soon; so may every status from 500 on."""
_LONGEST_WAIT = 300.0
"""An endpoint that asks for a longer pause has failed."""

_Result = TypeVar("_Result")


class _FaultError(Exception):
    """One attempt failed."""

    def __init__(self, text: str, *, passing: bool = True, pause: float = 0.0) -> None:
        super().__init__(text)
        self.passing = passing
        """Whether it may go better next time."""
        self.pause = pause
        """Seconds that the endpoint asks to wait."""


class OpenAIEngine:
    """A model behind an OpenAI-compatible endpoint."""

    def __init__(
        self,
        model: str,
        *,
        url: str = OPENAI_URL,
        api_key: str | None = None,
        workers: int = 1,
        timeout: float = 300.0,
        max_retries: int = 3,
        backoff: tuple[float, float] = (1.0, 30.0),
        tokenizer: str | Path | None = None,
        chat_template: str | None = None,
    ) -> None:
        """Prepare to ask; nothing is sent yet.

        Args:
            model: Name under which the endpoint serves the model.
            url: Address of the endpoint, with or without `/v1` and `/chat/completions`.
            api_key: Sent as bearer token; never part of a message.
            workers: Requests under way at the same time.
            timeout: Seconds until an unanswered request counts as failed.
            max_retries: Further attempts after a request that failed.
            backoff: Seconds before the second attempt, twice as many before each further one; and
                the most.
            tokenizer: Folder or hub name; prompts then go as token ids.
            chat_template: As for `load_tokenizer`.

        Raises:
            EngineError: the address is none.
            MissingExtraError: the package openai is not installed.
        """
        self.name = model
        self._address = Address.parse(url)
        self._api_key = api_key
        self._timeout = timeout
        self._max_retries = max_retries
        self._backoff = backoff
        self._tokenizer = load_tokenizer(tokenizer, chat_template) if tokenizer else None
        self._window = 2 * workers
        self._places = asyncio.Semaphore(workers)
        self._client = _client(self._address, api_key)
        self._loop: _Loop | None = _Loop()

    @classmethod
    def from_config(cls, config: InferConfig) -> OpenAIEngine:
        """The endpoint of an inference file.

        Raises:
            EngineError: the file asks for what an endpoint cannot do, or the key is not there.
        """
        if config.model.adapter_model is not None:
            raise EngineError(
                f"an endpoint loads adapters itself: start it with --lora-modules "
                f"NAME={config.model.adapter_model} and set model.model_name to that NAME"
            )
        remote = config.remote_params or RemoteConfig()
        url = remote.api_url or OPENAI_URL
        return cls(
            config.model.model_name,
            url=url,
            api_key=_find_key(remote, Address.parse(url)),
            workers=remote.num_workers,
            timeout=remote.connection_timeout,
            max_retries=remote.max_retries,
            backoff=(remote.retry_backoff_base, remote.retry_backoff_max),
            tokenizer=remote.tokenizer,
            chat_template=config.model.chat_template,
        )

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """See `Engine.generate`; the first prompt that fails ends the others."""
        found: dict[int, Completion] = {}
        for place, outcome in self.answers(prompts, params):
            if isinstance(outcome, EngineError):
                raise outcome
            found[place] = outcome
        return [found[place] for place in range(len(prompts))]

    def answers(self, prompts: Iterable[Prompt | None], params: SamplingParams) -> Iterator[Answer]:
        """See `StreamingEngine.answers`; requests are under way while the caller works."""
        waiting, places = iter(prompts), itertools.count()
        running: dict[Future[Completion], int] = {}
        try:
            while True:
                while len(running) < self._window and (prompt := next(waiting, None)):
                    running[self._submit(prompt, params)] = next(places)
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in sorted(done, key=running.__getitem__):
                    yield Answer(running.pop(future), _outcome(future))
        finally:
            for future in running:
                future.cancel()

    async def agenerate(
        self, prompts: Iterable[Prompt | None], params: SamplingParams
    ) -> AsyncIterator[Answer]:
        """The same as `answers` for callers with an event loop of their own."""
        waiting, places = iter(prompts), itertools.count()
        running: dict[asyncio.Future[Completion], int] = {}
        try:
            while True:
                while len(running) < self._window and (prompt := next(waiting, None)):
                    future = asyncio.wrap_future(self._submit(prompt, params))
                    running[future] = next(places)
                if not running:
                    return
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for future in sorted(done, key=running.__getitem__):
                    yield Answer(running.pop(future), _outcome(future))
        finally:
            for future in running:
                future.cancel()

    def close(self) -> None:
        """Drop the connections; a second call does nothing."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.submit(self._client.close()).result()
            loop.close()

    def _submit(self, prompt: Prompt, params: SamplingParams) -> Future[Completion]:
        if self._loop is None:
            raise EngineError(f"the engine of {self.name} is closed; make a new one")
        return self._loop.submit(self._ask(prompt, params))

    async def _ask(self, prompt: Prompt, params: SamplingParams) -> Completion:
        async with self._places:
            attempt = 1
            while True:
                try:
                    async with asyncio.timeout(self._timeout):
                        return await self._attempt(prompt, params)
                except TimeoutError:
                    seconds = f"{self._timeout:g} s (connection_timeout)"
                    fault = _FaultError(f"gave no answer within {seconds}")
                except _FaultError as e:
                    fault = e
                if not fault.passing or attempt > self._max_retries:
                    raise self._failed(fault, attempt) from fault
                await asyncio.sleep(self._pause(attempt, fault))
                attempt += 1

    def _failed(self, fault: _FaultError, attempts: int) -> EngineError:
        tried = f" ({attempts} attempts)" if attempts > 1 else ""
        text = f"{self._address.base} {fault}{tried}"
        return EngineError(text.replace(self._api_key, "***") if self._api_key else text)

    def _pause(self, attempt: int, fault: _FaultError) -> float:
        first, most = self._backoff
        # spread, so that requests that failed together do not come back together
        own = min(first * 2.0 ** (attempt - 1), most) * random.uniform(0.75, 1.0)
        return max(own, fault.pause)

    async def _attempt(self, prompt: Prompt, params: SamplingParams) -> Completion:
        body = await self._send(prompt, self._settings(params))
        try:
            return read_answer(body, params.stop)
        except ValidationError as e:
            problem = e.errors(include_url=False)[0]
            wrong = problem["msg"].removeprefix("Value error, ")
            where = ".".join(map(str, problem["loc"]))
            said = " ".join(body.decode(errors="replace").split())[:120]
            parts = filter(None, ["gave no answer of OpenAI's form", where, wrong, repr(said)])
            raise _FaultError(": ".join(parts)) from e

    async def _send(self, prompt: Prompt, settings: dict[str, Any]) -> bytes:
        import openai

        try:
            if self._tokenizer is None:
                messages: Any = [turn._asdict() for turn in prompt]
                chat = self._client.chat.completions.with_raw_response
                return (await chat.create(messages=messages, **settings)).content
            plain = self._client.completions.with_raw_response
            ids = encode_prompt(self._tokenizer, prompt)
            # so that vLLM says which tokens it drew
            extra = {"return_token_ids": True}
            return (await plain.create(prompt=ids, extra_body=extra, **settings)).content
        except TemplateError as e:
            raise EngineError(str(e)) from e
        except openai.APIStatusError as e:
            raise self._refusal(e) from e
        except openai.APIConnectionError as e:
            raise _FaultError(f"cannot be reached: {_cause(e)}; is the server running?") from e

    def _settings(self, params: SamplingParams) -> dict[str, Any]:
        # OpenAI itself has given up `max_tokens`, which is all that many others know
        limit = "max_completion_tokens" if self._address.is_openai else "max_tokens"
        settings: dict[str, Any] = {
            "model": self.name,
            limit: params.max_new_tokens,
            "temperature": params.temperature,
        }
        if params.top_p < 1.0:
            settings["top_p"] = params.top_p
        if params.stop:
            settings["stop"] = list(params.stop)
        if params.seed is not None:
            settings["seed"] = params.seed
        return settings

    def _refusal(self, error: APIStatusError) -> _FaultError:
        status = error.status_code
        text = f"answered {status}: {_message(error)}"
        if status in (401, 403):
            text += "; set remote_params.api_key_env_varname to the variable that holds the key"
        elif status == 404:
            text += f"; GET {self._address.base}/models lists the models that it serves"
        pause = _retry_after(error.response.headers)
        if pause > _LONGEST_WAIT:
            text += f"; it asks to come back in {pause:.0f} s"
        passing = status in _PASSING or status >= 500
        over = pause > _LONGEST_WAIT or error.code == "insufficient_quota"
        return _FaultError(text, passing=passing and not over, pause=pause)


class _Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def submit(self, work: Coroutine[Any, Any, _Result]) -> Future[_Result]:
        """Start `work` in the loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _client(address: Address, api_key: str | None) -> AsyncOpenAI:
    try:
        from openai import AsyncOpenAI
    except ModuleNotFoundError as e:
        raise MissingExtraError("openai", "openai") from e
    return AsyncOpenAI(
        base_url=address.base,
        default_query=address.query,
        # servers of one's own ask for no key, but the package insists on one
        api_key=api_key or "none",
        timeout=None,
        max_retries=0,
    )


def _find_key(remote: RemoteConfig, address: Address) -> str | None:
    """The key of the configuration; OpenAI's own variable is read for OpenAI's own host only."""
    if remote.api_key is not None:
        return remote.api_key.get_secret_value().strip()
    name = remote.api_key_env_varname or (_OPENAI_KEY if address.is_openai else None)
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise EngineError(f"no key for {address.base}: the environment variable {name} is not set")
    return key


def _outcome(future: Future[Completion] | asyncio.Future[Completion]) -> Completion | EngineError:
    try:
        return future.result()
    except EngineError as error:
        return error


def _message(error: APIStatusError) -> str:
    """What the endpoint says about a refusal, on one line."""
    body = error.body
    said = body.get("message") or body.get("detail") if isinstance(body, Mapping) else body
    return " ".join(str(said or error.response.reason_phrase or "no reason given").split())[:300]


def _cause(error: BaseException) -> str:
    """The words of the deepest cause that has any: those above say "Connection error."."""
    said = str(error)
    cause = error.__cause__ or error.__context__
    while cause is not None:
        said = str(cause) or said
        cause = cause.__cause__ or cause.__context__
    return " ".join(said.split())


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds that the endpoint asks to wait; 0 when it does not."""
    value = headers.get("retry-after", "")
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    date = email.utils.parsedate_tz(value)
    return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else 0.0
