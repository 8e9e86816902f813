"""A chat endpoint that speaks OpenAI's protocol: vLLM, SGLang, llama.cpp's server, transformers serve, hosted ones."""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from corpus.labels.budget import Amount
from presight.console import say
from presight.errors import PresightError

if TYPE_CHECKING:
    from tenacity import RetryCallState

KEYS = ("PRESIGHT_API_KEY", "OPENAI_API_KEY")
CHAT = "/chat/completions"
LOOPBACK = ("localhost", "127.0.0.1", "::1")
PASSING = (408, 409, 425, 429)  # and all from 500: worth another try
LONGEST_WAIT = 600.0  # seconds that a server may ask us to wait
MENDS = {
    401: f"set {KEYS[0]} to a key it knows",
    403: f"set {KEYS[0]} to a key that may use the model",
    404: "check its address and the model's name",
    400: "check the model's name, its context length and what the request holds",
    413: "give the model a longer context, or ask about shorter windows",
}


class Silent(Exception):
    """No answer after all tries; says what the last of them met."""


class _Passing(Exception):
    """A fault that another try may not meet; ``wait``: seconds that the server asks for."""

    def __init__(self, fault: str, wait: float = 0.0) -> None:
        self.wait = wait
        super().__init__(fault)


@dataclass(frozen=True)
class Reply:
    """What came back.

    Args:
        text: the answer, as it was written.
        model: its author, as the server calls it.
        usage: tokens it took.
        estimated: whether ``usage`` is our guess (characters / 4), since the server gave none.
        finish: why it ended; ``length``: cut off.
        seconds: from the last try's request to its answer.
        tries: requests sent.
    """

    text: str
    model: str
    usage: Amount
    estimated: bool
    finish: str | None
    seconds: float
    tries: int


class Endpoint:
    """Asks one model, with patience.

    Args:
        url: base address with or without ``/v1``, or the full one that ends in ``/chat/completions``.
        model: as the server knows it.
        timeout: seconds until an answer must be whole.
        retries: further tries after the first, with exponential back-off from ``pause`` seconds, and jitter.
        body: further fields of the request; null takes a field away.
        json_mode: ask for ``response_format: json_object``; given up, and said, if the server refuses it.

    Raises:
        PresightError: ``url`` is no address.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        temperature: float = 0.0,
        answer_tokens: int = 256,
        timeout: float = 120.0,
        retries: int = 6,
        pause: float = 1.0,
        json_mode: bool = False,
        body: Mapping[str, Any] | None = None,
    ) -> None:
        import httpx2

        try:
            address = httpx2.URL(url.rstrip("/"))
        except httpx2.InvalidURL:
            address = httpx2.URL("")
        if address.scheme not in ("http", "https") or not address.host:
            raise PresightError("endpoint", f"{url!r} is no address", "write http://host:port/v1")
        base = str(address)
        self.url = base if base.endswith(CHAT) else (base if base.endswith("/v1") else base + "/v1") + CHAT
        self.shown = str(httpx2.URL(self.url).copy_with(userinfo=b""))  # for people: no password
        self.host = f"{address.host}:{address.port}" if address.port else address.host  # no key, no password
        self.answer_tokens, self.timeout = answer_tokens, timeout
        self.retries, self.pause, self.json_mode = retries, pause, json_mode
        settings = {"model": model, "temperature": temperature, "max_tokens": answer_tokens, **(body or {})}
        self.body = {key: value for key, value in settings.items() if value is not None}
        self._not_before = 0.0
        self._client: httpx2.AsyncClient | None = None

    async def __aenter__(self) -> Endpoint:
        import httpx2

        key = next((value for name in KEYS if (value := os.environ.get(name, "").strip())), None)
        self._client = httpx2.AsyncClient(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=None,  # `asyncio.timeout` holds for the whole of an answer, not for each of its bytes
            limits=httpx2.Limits(max_connections=None),
            trust_env=httpx2.URL(self.url).host not in LOOPBACK,  # no proxy stands between us and this machine
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client:
            await self._client.aclose()

    def most(self, messages: Sequence[Mapping[str, str]]) -> Amount:
        """What a request may take at worst: a token is a byte at least, and templates add some of their own."""
        size = sum(len(each["content"].encode("utf-8", "replace")) + 32 for each in messages)
        limits = (self.body[key] for key in ("max_tokens", "max_completion_tokens") if key in self.body)
        return Amount(size, max(limits, default=self.answer_tokens))

    async def ask(self, messages: Sequence[Mapping[str, str]]) -> Reply:
        """Send the conversation and return the next message.

        Raises:
            PresightError: the endpoint refuses: it would refuse any request like it.
            Silent: all tries met passing faults.
        """
        from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.retries + 1),
            wait=self._wait,
            retry=retry_if_exception_type(_Passing),
            reraise=True,
        )
        try:
            async for attempt in retrying:
                with attempt:
                    return await self._once(messages, attempt.retry_state.attempt_number)
        except _Passing as error:
            raise Silent(str(error)) from error
        raise AssertionError("tenacity returns or raises")

    def _wait(self, state: RetryCallState) -> float:
        from tenacity import wait_exponential_jitter

        error = state.outcome.exception() if state.outcome else None
        asked = min(error.wait, LONGEST_WAIT) if isinstance(error, _Passing) else 0.0
        backoff = wait_exponential_jitter(initial=self.pause, max=60.0, jitter=self.pause)(state)
        self._not_before = max(self._not_before, time.monotonic() + asked)  # the others wait too
        return max(asked, backoff)

    async def _once(self, messages: Sequence[Mapping[str, str]], tries: int) -> Reply:
        import httpx2

        assert self._client, "use it as `async with Endpoint(…)`"
        await asyncio.sleep(self._not_before - time.monotonic())
        body, json_mode = {**self.body, "messages": list(messages)}, self.json_mode
        if json_mode:
            body["response_format"] = {"type": "json_object"}
        start = time.monotonic()
        try:
            async with asyncio.timeout(self.timeout):
                response = await self._client.post(self.url, json=body)
        except TimeoutError:
            raise _Passing(f"no answer within {self.timeout:g} s") from None
        except httpx2.HTTPError as error:
            raise _Passing(f"{type(error).__name__}: {error}".rstrip(": ")) from error
        if response.status_code != 200:
            self._refused(response.status_code, response.text, response.headers, json_mode)
        return self._reply(response.content, messages, time.monotonic() - start, tries)

    def _refused(self, status: int, text: str, headers: Mapping[str, str], json_mode: bool) -> None:
        said = " ".join(text.split())[:300]
        if status in PASSING or status >= 500:
            raise _Passing(f"status {status} {said}".rstrip(), _asked(headers.get("retry-after")))
        if json_mode and status in (400, 422):
            if self.json_mode:
                say(f"endpoint {self.host}: refuses JSON mode (status {status} {said}); going on without it")
            self.json_mode = False
            raise _Passing("JSON mode refused")
        mend = MENDS.get(status, "check its address") if status >= 400 else f"use {headers.get('location', 'another')}"
        raise PresightError(f"endpoint {self.shown}", f"refuses requests: status {status} {said}".rstrip(), mend)

    def _reply(self, content: bytes, messages: Sequence[Mapping[str, str]], seconds: float, tries: int) -> Reply:
        try:
            found = json.loads(content)
            choice = found["choices"][0]
            text = choice["message"].get("content") or ""
            if not isinstance(text, str):
                raise TypeError("content is no text")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            said = " ".join(content[:200].decode("utf-8", "replace").split())
            raise _Passing(f"an answer that is no chat completion: {said!r}") from error
        given = found.get("usage")
        counts = [
            given.get(key) if isinstance(given, dict) else None for key in ("prompt_tokens", "completion_tokens")
        ]
        guesses = [math.ceil(sum(len(each["content"]) for each in messages) / 4), math.ceil(len(text) / 4)]
        known = [count if isinstance(count, int) and count >= 0 else None for count in counts]
        usage = Amount(*(guess if count is None else count for count, guess in zip(known, guesses, strict=True)))
        model = found.get("model")
        return Reply(
            text=text.encode("utf-8", "replace").decode(),  # half a surrogate pair would not be sent back
            model=model if isinstance(model, str) and model else self.body["model"],
            usage=usage,
            estimated=None in known,
            finish=choice.get("finish_reason"),
            seconds=seconds,
            tries=tries,
        )


def _asked(value: str | None) -> float:
    """Seconds that a ``Retry-After`` asks for: a number or a date."""
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
