"""What a provider profile may say, and where keys and addresses are looked up."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from salvo_core.adapters import anthropic, http, openai
from salvo_core.adapters.endpoint import Endpoint, Wire
from salvo_core.adapters.profile import Profile
from salvo_core.adapters.transport import Transport
from salvo_core.errors import ProviderAuthentication, ProviderError, UsageError
from tests.unit.adapters.server import CannedServer, answer
from tests.unit.adapters.wiring import Secrets

KEY = "sk-very-secret-0123456789"
TRACE_ID = "0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111"


@pytest.fixture
async def transport() -> AsyncIterator[Transport]:
    made = Transport(1)
    yield made
    await made.aclose()


def endpoint(
    transport: Transport, secrets: dict[str, str], wire: Wire = openai.WIRE, **profile: Any
) -> Endpoint:
    name = profile.setdefault("adapter", "openai")
    return Endpoint(name, Profile.model_validate(profile), wire, Secrets(secrets), transport)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "localhost:8000"},
        {"base_url": "ftp://host"},
        {"base_url": "http://"},
        {"base_url": "http://[::1"},
        {"base_url": "http://host:99999"},
        {"base_url": "http://host/v1?key=x"},
        {"base_url": "http://ho st/"},
        {"headers": {"X-Bad": "two\nlines"}},
        {"headers": {"bad name": "x"}},
        {"auth_header": "a:b"},
        {"retries_max": -1},
        {"timeouts": {"turn_s": 0}},
        {"breaker": {"failures": 0}},
        {"breaker": {"failures": 4}},  # of five trials, as it is by default
        {"breaker": {"wait_first_s": 61}},
        {"breaker": {"wait_s_max": 601}},
        {"breaker": {"window_s": float("inf")}},
        {"breaker": {"opens_after": 3}},
        {"timeouts": {"read_s": float("inf")}},
        {"prices": {"m": {"input_usd_per_mtok": -1, "output_usd_per_mtok": 1}}},
        {"prices": {"m": {"input_usd_per_mtok": 1}}},
        {"api_key": "written into the file"},
        {"adapter": "scripted"},
    ],
)
def test_a_profile_that_cannot_work_is_refused_without_repeating_it(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refused:
        Profile.model_validate({"adapter": "openai", "headers": {"x-token": KEY}, **wrong})
    assert KEY not in str(refused.value)


def test_a_profile_printed_shows_no_header_no_query_and_no_address() -> None:
    profile = Profile(
        adapter="http",
        base_url=f"https://u:{KEY}@h",
        headers={"x-token": KEY},
        query={"code": KEY},
    )
    assert KEY not in f"{profile!r} {profile}"


async def test_the_vendors_own_address_wants_its_key_and_names_the_variable(transport: Transport) -> None:
    for wire, variable in ((openai.WIRE, "OPENAI_API_KEY"), (anthropic.WIRE, "ANTHROPIC_API_KEY")):
        with pytest.raises(ProviderAuthentication, match=f"{variable} is not set") as missing:
            await endpoint(transport, {}, wire).post({}, "")
        assert variable in missing.value.hint


async def test_a_server_of_ones_own_needs_no_key(transport: Transport, server: CannedServer) -> None:
    server.plays(answer({"ok": 1}))
    await endpoint(transport, {}, base_url=server.url).post({}, "")
    assert "authorization" not in server.seen[0].headers


async def test_key_address_headers_and_query_all_arrive(transport: Transport, server: CannedServer) -> None:
    server.plays(answer({"ok": 1}))
    azure = endpoint(
        transport,
        {"AZURE_KEY": f"{KEY}\n"},
        base_url=f"{server.url}/openai/deployments/d/",
        key_env="AZURE_KEY",
        auth_header="API-Key",
        headers={"X-Team": "blue"},
        query={"api-version": "2024-10-21", "a b": "ü"},
    )
    await azure.post({"x": 1}, TRACE_ID)
    [seen] = server.seen
    assert seen.path == "/openai/deployments/d/chat/completions?api-version=2024-10-21&a+b=%C3%BC"
    assert (seen.headers["api-key"], seen.headers["x-team"]) == (KEY, "blue")
    assert seen.headers["x-salvo-trace-id"] == TRACE_ID
    assert "authorization" not in seen.headers
    assert azure.known_secrets() == {KEY}


@pytest.mark.parametrize(
    ("wire", "secrets", "path"),
    [
        (openai.WIRE, {"OPENAI_BASE_URL": "{url}/v1/"}, "/v1/chat/completions"),
        (anthropic.WIRE, {"ANTHROPIC_BASE_URL": "{url}"}, "/v1/messages"),
        (anthropic.WIRE, {"ANTHROPIC_BASE_URL": "{url}/v1"}, "/v1/messages"),
        (http.WIRE, {"SALVO_AGENT_URL": "{url}/agent"}, "/agent"),
    ],
)
async def test_the_address_comes_from_the_workers_variable(
    transport: Transport, server: CannedServer, wire: Wire, secrets: dict[str, str], path: str
) -> None:
    server.plays(answer({"ok": 1}))
    filled = {name: value.format(url=server.url) for name, value in secrets.items()}
    await endpoint(transport, filled, wire).post({}, "")
    assert server.seen[0].path == path


async def test_a_variable_that_holds_no_address_is_named_and_not_repeated(transport: Transport) -> None:
    with pytest.raises(UsageError, match="OPENAI_BASE_URL") as wrong:
        endpoint(transport, {"OPENAI_BASE_URL": f"hunter:{KEY}"})
    assert KEY not in str(wrong.value)


async def test_an_agent_without_an_address_is_the_users_mistake(transport: Transport) -> None:
    with pytest.raises(UsageError, match="no address") as wrong:
        endpoint(transport, {}, http.WIRE)
    assert "SALVO_AGENT_URL" in wrong.value.hint


async def test_the_trace_header_can_be_turned_off(transport: Transport, server: CannedServer) -> None:
    server.plays(answer({"ok": 1}))
    await endpoint(transport, {}, base_url=server.url, trace_header=False).post({}, TRACE_ID)
    assert "x-salvo-trace-id" not in server.seen[0].headers


async def test_a_key_file_is_read_at_the_first_turn_and_goes_before_the_variable(
    transport: Transport, server: CannedServer, tmp_path: Path
) -> None:
    server.plays(answer({"ok": 1}))
    file = tmp_path / "key"
    made = endpoint(transport, {"OPENAI_API_KEY": "other"}, base_url=server.url, key_file=str(file))
    with pytest.raises(ProviderAuthentication, match="No such file"):
        await made.post({}, "")
    file.write_text(f"{KEY}\n")
    await made.post({}, "")
    assert server.seen[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "content", [b"", b" \n", b"\xff\xfe" + KEY.encode(), KEY.encode() + b"\nsecond line", b"x" * 20_000]
)
async def test_a_key_file_that_holds_no_key_is_an_error_that_does_not_quote_it(
    transport: Transport, server: CannedServer, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(ProviderAuthentication) as wrong:
        await endpoint(transport, {}, base_url=server.url, key_file=str(file)).post({}, "")
    error: BaseException | None = wrong.value
    while error is not None:
        assert KEY not in f"{error} {error!r}"
        error = error.__cause__
    assert server.connections == 0


async def test_placeholders_are_sent_but_are_no_secrets(transport: Transport, server: CannedServer) -> None:
    server.plays(answer({"ok": 1}))
    local = endpoint(transport, {"LOCAL_KEY": "EMPTY"}, base_url=server.url, key_env="LOCAL_KEY")
    await local.post({}, "")
    assert server.seen[0].headers["authorization"] == "Bearer EMPTY"
    assert local.known_secrets() == frozenset()


async def test_a_vendors_key_does_not_go_to_an_address_that_did_not_name_it(
    transport: Transport, server: CannedServer
) -> None:
    server.plays(answer({"ok": 1}))
    await endpoint(transport, {"OPENAI_API_KEY": KEY}, base_url=server.url).post({}, "")
    assert "authorization" not in server.seen[0].headers


async def test_secrets_written_into_a_profile_are_known_and_never_repeated(
    transport: Transport, server: CannedServer
) -> None:
    values = ["header-token-1", "query-token-2", "pass-word-3"]
    address = f"http://user:{values[2]}@127.0.0.1:{server.port}"
    made = endpoint(
        transport,
        {},
        base_url=address,
        headers={"Authorization": f"Bearer {values[0]}", "X-Team": "a-long-team-name"},
        query={"code": values[1], "page": "a-long-page-name"},
    )
    assert made.known_secrets() == {f"Bearer {values[0]}", *values}
    server.plays(answer({"error": {"message": " ".join([*values, "a-long-team-name"])}}, status=400))
    with pytest.raises(ProviderError) as failed:
        await made.post({}, "")
    assert not any(value in str(failed.value) for value in values)
    assert "a-long-team-name" in str(failed.value)
    sent = base64.b64encode(f"user:{values[2]}".encode()).decode()
    assert server.seen[0].headers["authorization"] == f"Basic {sent}"
