import asyncio
import email.utils
import itertools
import json
import socket
import time

import pytest
from toy_endpoint import Say, Server

from corpus.labels.budget import Amount
from corpus.labels.endpoint import Endpoint, Silent
from presight.errors import PresightError

MESSAGES = [{"role": "user", "content": "what is ü"}]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in ("PRESIGHT_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def ask(url, times=1, **options):
    """Reply to one request, or the replies to several at once."""
    settings = {"model": "m", "pause": 0.01, "timeout": 5.0, "retries": 3, **options}

    async def run():
        async with Endpoint(url, **settings) as endpoint:
            return await asyncio.gather(*(endpoint.ask(MESSAGES) for _ in range(times)))

    replies = asyncio.run(run())
    return replies[0] if times == 1 else replies


def in_turn(*says):
    """A script that goes through ``says``, and repeats the last."""
    left = list(says)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def test_a_reply_has_the_text_its_author_and_what_it_took():
    with Server() as server:
        reply = ask(server.url, temperature=0.5, answer_tokens=77, body={"top_p": 0.9, "max_tokens": None})
    assert json.loads(reply.text)["labels"] == []
    assert (reply.model, reply.usage, reply.estimated, reply.tries) == ("m@toy", Amount(100, 10), False, 1)
    assert server.asked[0].body == {"model": "m", "temperature": 0.5, "top_p": 0.9, "messages": MESSAGES}


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_the_address_is_taken_with_or_without_version(ending):
    with Server() as server:
        ask(server.url + ending)
    assert server.asked[0].path == "/v1/chat/completions"


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://host/v1", "http://", "http:///v1"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(PresightError, match=r"endpoint.*no address"):
        Endpoint(url, "m")


@pytest.mark.parametrize(
    "fault",
    [
        Say(status=429),
        Say(status=500, raw=b"<html>oh</html>"),
        Say(status=502),
        Say(status=503, headers={"Retry-After": "0"}),
        Say(raw=b'{"choices": [{"mess'),
        Say(raw=b"[]"),
        Say(raw=b'{"choices": []}'),
        Say(raw=b'{"error": {"message": "busy"}}'),
        Say(raw=b'{"choices": [{"message": {"content": 7}}]}'),
        Say(raw=b"\xff\xfe"),
        Say(cut=40),
        Say(cut=0),
        Say(after=2.5),
    ],
)
def test_passing_faults_are_met_with_another_try(fault):
    with Server(in_turn(fault, fault, Say())) as server:
        reply = ask(server.url, timeout=2.0 if fault.after else 30.0)
    assert reply.tries == len(server.asked) == 3
    assert reply.text


def test_a_slow_trickle_is_no_answer():
    def trickle(_):
        time.sleep(0.4)
        return Say()

    with Server(trickle) as server, pytest.raises(Silent, match=r"no answer within 0\.1 s"):
        ask(server.url, timeout=0.1, retries=1)
    assert len(server.asked) == 2


def test_the_server_says_how_long_everybody_waits():
    busy = Say(status=429, headers={"Retry-After": "0.4"})
    with Server(in_turn(busy, Say())) as server:
        replies = ask(server.url, times=4)
    assert sorted(reply.tries for reply in replies) == [1, 1, 1, 2]
    with Server(in_turn(busy, busy, Say())) as server:
        ask(server.url)
    times = [each.at for each in server.asked]
    assert all(later - sooner >= 0.4 for sooner, later in itertools.pairwise(times))


def test_a_date_to_retry_after_is_understood():
    from corpus.labels.endpoint import _asked

    assert 50 < _asked(email.utils.formatdate(time.time() + 60, usegmt=True)) <= 61
    assert _asked(email.utils.formatdate(time.time() - 60, usegmt=True)) == 0
    assert [_asked(value) for value in (None, "", "soon", "-3", "nan", "2.5")] == [0, 0, 0, 0, 0, 2.5]


def test_patience_ends():
    with Server(lambda _: Say(status=503, raw=b"overloaded")) as server:
        with pytest.raises(Silent, match="status 503 overloaded"):
            ask(server.url, retries=2)
        assert len(server.asked) == 3
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(Silent, match="ConnectError"):
            ask(url, retries=1)


@pytest.mark.parametrize(
    ("status", "mend"),
    [(400, "context length"), (401, "PRESIGHT_API_KEY"), (403, "PRESIGHT_API_KEY"), (404, "model's name"), (422, "")],
)
def test_a_refusal_is_said_at_once(status, mend):
    with Server(lambda _: Say(status=status, raw=b'{"error": "not you"}')) as server:
        with pytest.raises(PresightError) as caught:
            ask(server.url)
        assert len(server.asked) == 1
    for word in (f"{server.url}/v1/chat/completions", str(status), "not you", mend):
        assert word in str(caught.value)


def test_a_redirection_is_named():
    moved = Say(status=308, headers={"Location": "https://elsewhere/v1"})
    with Server(lambda _: moved) as server, pytest.raises(PresightError, match="https://elsewhere/v1"):
        ask(server.url)


def test_json_mode_is_given_up_where_it_is_refused(capsys):
    def script(asked):
        return Say(status=400, raw=b"unknown field") if "response_format" in asked.body else Say()

    with Server(script) as server:
        ask(server.url, times=3, json_mode=True)
    assert "response_format" not in server.asked[-1].body
    assert capsys.readouterr().err.count("refuses JSON mode (status 400 unknown field)") == 1
    with Server() as server:
        ask(server.url, json_mode=True)
        ask(server.url)
    assert [each.body.get("response_format") for each in server.asked] == [{"type": "json_object"}, None]


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, {"completion_tokens": "3"}])
def test_usage_is_estimated_where_it_is_not_given(usage):
    with Server(lambda _: Say(text="x" * 9, usage=usage)) as server:
        reply = ask(server.url)
    assert (reply.usage, reply.estimated) == (Amount(3, 3), True)


@pytest.mark.parametrize("text", [None, ""])
def test_an_empty_answer_is_an_answer(text):
    with Server(lambda _: Say(text=text)) as server:
        assert ask(server.url).text == ""


def test_half_a_surrogate_pair_in_an_answer_can_be_sent_back():
    with Server(lambda _: Say(text="a\ud83db")) as server:
        assert ask(server.url).text == "a?b"


def test_the_key_comes_from_the_environment(monkeypatch):
    with Server() as server:
        ask(server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "other")
        ask(server.url)
        monkeypatch.setenv("PRESIGHT_API_KEY", " mine\n")
        ask(server.url)
    keys = [each.headers.get("authorization") or each.headers.get("Authorization") for each in server.asked]
    assert keys == [None, "Bearer other", "Bearer mine"]


def test_no_proxy_stands_between_us_and_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Server() as server:
        assert ask(server.url, retries=0).tries == 1


def test_at_worst_a_token_is_a_byte():
    assert Endpoint("http://h", "m", answer_tokens=50).most(MESSAGES) == Amount(10 + 32, 50)
    longer = Endpoint("http://h", "m", body={"max_tokens": None, "max_completion_tokens": 900})
    assert longer.most(MESSAGES).answer == 900
    assert Endpoint("http://h", "m", answer_tokens=50, body={"max_tokens": None}).most(MESSAGES).answer == 50


def test_the_host_is_named_without_secrets():
    endpoint = Endpoint("https://user:secret@example.org:8443/v1", "m")
    assert endpoint.host == "example.org:8443"
    assert endpoint.shown == "https://example.org:8443/v1/chat/completions"
    with Server(lambda _: Say(status=401)) as server, pytest.raises(PresightError) as error:
        ask(server.url.replace("//", "//user:secret@"))
    assert "secret" not in str(error.value)
