"""From a name to an adapter."""

from __future__ import annotations

import asyncio
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from salvo_core.adapters import anthropic, http, openai, transport
from salvo_core.adapters.prices import ModelRates
from salvo_core.adapters.protocol import TurnConfig
from salvo_core.adapters.script import Script
from salvo_core.adapters.wired import WiredAdapter
from salvo_core.errors import UsageError
from salvo_core.trace.model import Message, Usage
from tests.unit.adapters.conftest import InstantClock
from tests.unit.adapters.server import CannedServer, answer
from tests.unit.adapters.wiring import registry

HERE = "tests.unit.adapters"
CREW = f"{HERE}.crew"
ASK = [Message(role="user", content="hi")]
USAGE = Usage(input_tokens=1000, output_tokens=500)


async def test_builtins_and_profiles_are_found_and_made_once() -> None:
    made = registry(profiles={"desk": {"adapter": "http", "base_url": "http://localhost:1"}})
    for name, wire in {"openai": openai.WIRE, "anthropic": anthropic.WIRE, "desk": http.WIRE}.items():
        adapter = made.get(name)
        assert isinstance(adapter, WiredAdapter)
        assert adapter.wire is wire
        assert adapter.name == name
        assert made.get(name) is adapter
    await made.aclose()


async def test_what_a_first_exchange_needs_is_read_once_and_beside_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, readers = transport.tls_context, []

    def read() -> ssl.SSLContext:
        readers.append(threading.current_thread())
        return real()

    monkeypatch.setattr(transport, "tls_context", read)
    made = registry(profiles={"desk": {"adapter": "http", "base_url": "http://localhost:1"}})
    await made.prepare("scripted", "none")
    assert not readers  # it asks nobody
    waiting = [asyncio.create_task(made.prepare(name, "gpt-4o")) for name in ("openai", "openai", "openai")]
    await asyncio.sleep(0)
    waiting[0].cancel()  # whoever gives up takes nothing from the others
    await asyncio.gather(*waiting, return_exceptions=True)
    await made.prepare("openai", "gpt-4o")
    await made.prepare("desk", "")
    [reader] = readers
    assert reader is not threading.current_thread()
    await made.aclose()


async def test_certificates_that_cannot_be_read_are_the_exchanges_business(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def read() -> ssl.SSLContext:
        raise OSError("no such file")

    monkeypatch.setattr(transport, "tls_context", read)
    made = registry(secrets={"OPENAI_API_KEY": "sk-not-a-key-0123456789"})
    await made.prepare("openai", "gpt-4o")
    with pytest.raises(OSError, match="no such file"):
        await made.get("openai").send_turn(ASK, None, TurnConfig("gpt-4o"))
    await made.aclose()


async def test_a_profile_called_like_a_builtin_replaces_its_settings(server: CannedServer) -> None:
    made = registry(profiles={"openai": {"adapter": "openai", "base_url": server.url, "retries_max": 7}})
    server.plays(answer({"choices": [{"message": {"content": "mine"}}]}))
    assert (await made.get("openai").send_turn(ASK, None, TurnConfig("m"))).content == "mine"
    assert made.backoff_for("openai").retries_max == 7
    assert made.backoff_for("anthropic").retries_max == 3
    await made.aclose()


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("my.desk", {"adapter": "http"}),
        ("", {"adapter": "http"}),
        ("a b", {"adapter": "http"}),
        ("scripted", {"adapter": "http"}),
        ("openai", {"adapter": "anthropic"}),
    ],
)
def test_a_profile_cannot_have_a_name_that_means_something_else(name: str, profile: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        registry(profiles={name: profile})


@pytest.mark.parametrize("name", ["opnai", "openai ", "", "\x1b[31mx", "tests..crew", "1.2"])
def test_an_unknown_name_lists_what_there_is(name: str) -> None:
    made = registry(profiles={"desk": {"adapter": "http", "base_url": "http://localhost:1"}})
    with pytest.raises(UsageError, match="there is no adapter") as unknown:
        made.get(name)
    assert "anthropic, desk, http, openai, scripted" in unknown.value.hint
    assert unknown.value.message.isprintable()


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(UsageError) as unknown:
        registry().get("opnai")
    assert unknown.value.hint.startswith("Did you mean 'openai'? ")


def test_an_agent_without_an_address_is_said_before_any_turn() -> None:
    with pytest.raises(UsageError, match="adapter 'http' has no address"):
        registry().get("http")


async def test_scripted_plays_the_script_it_is_given(clock: InstantClock) -> None:
    script = Script.model_validate({"turns": [{"text": "from the script"}]})
    made = registry(clock=clock)
    adapter = made.get("scripted", script=script)
    assert (await adapter.send_turn(ASK, None, TurnConfig("m"))).content == "from the script"
    assert made.get("scripted", script=script) is not adapter
    with pytest.raises(UsageError, match="nothing to play"):
        made.get("scripted")


async def test_an_allowed_class_is_imported_and_made_afresh_for_each_trial() -> None:
    made = registry(allow_imports=["other.*", f"{CREW}.E*"])
    first, second = made.get(f"{CREW}.Echo"), made.get(f"{CREW}.Echo")
    replies = [await adapter.send_turn(ASK, None, TurnConfig("m")) for adapter in (first, first, second)]
    assert [(reply.content or "")[-1] for reply in replies] == ["1", "2", "1"]
    assert first.name == f"{CREW}.Echo"


@pytest.mark.parametrize("patterns", [[], ["other.*"], ["tests"], [f"{CREW.upper()}.*"], [f"{CREW}.Ech"]])
def test_a_class_that_is_not_allowed_is_not_imported(patterns: list[str]) -> None:
    with pytest.raises(UsageError, match="does not allow") as refused:
        registry(allow_imports=patterns).get(f"{CREW}.Echo")
    assert "SALVO_ALLOW_IMPORTS" in refused.value.hint


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (f"{HERE}.nowhere.Adapter", f"no module {HERE}.nowhere"),
        ("nowhere_at_all.deep.Adapter", "no module nowhere_at_all"),
        (f"{HERE}.needy_crew.Adapter", "No module named 'a_package_that_nobody_has'"),
        (f"{HERE}.broken_crew.Adapter", "could not be imported: RuntimeError: no licence found"),
        (f"{CREW}.Ecko", "has no class Ecko"),
        (f"{CREW}.NotAsync", "is no adapter"),
        (f"{CREW}.NoMethod", "is no adapter"),
        (f"{CREW}.function", "is no adapter"),
        (f"{CREW}.Refuses", r"could not be made: RuntimeError: the vault said no to \[REDACTED\]"),
        (f"{CREW}.WantsArguments", "could not be made: TypeError"),
    ],
)
def test_a_class_that_cannot_be_had_says_why(path: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        registry(allow_imports=["*"]).get(path)


async def test_the_keys_of_all_providers_are_known_secrets_before_any_turn(
    server: CannedServer, tmp_path: Path
) -> None:
    made = registry(
        profiles={
            "a": {"adapter": "openai", "base_url": server.url, "key_env": "A_KEY"},
            "c": {"adapter": "openai", "base_url": server.url, "key_file": str(tmp_path / "key")},
            "b": {"adapter": "http", "base_url": server.url, "headers": {"x-api-token": "token-of-b"}},
        },
        secrets={"A_KEY": "key-of-a", "OPENAI_API_KEY": "key-of-openai", "OTHER": "never asked for"},
    )
    expected = {"key-of-a", "token-of-b", "key-of-openai"}
    assert made.known_secrets() == expected
    (tmp_path / "key").write_text("key-in-a-file")
    assert made.known_secrets() == {*expected, "key-in-a-file"}
    server.plays(answer({"choices": [{"message": {"content": "x"}}]}))
    await made.get("a").send_turn(ASK, None, TurnConfig("m"))
    await made.aclose()
    assert "key-of-a" not in f"{made!r} {made.get('a')!r} {vars(made.get('a'))!r}"


def test_a_price_is_looked_up_where_the_adapter_points() -> None:
    made = registry(
        profiles={
            "router": {"adapter": "openai", "base_url": "https://openrouter.ai/api/v1"},
            "local": {
                "adapter": "openai",
                "base_url": "http://localhost:8000/v1",
                "prices": {"gpt-4o": {"input_usd_per_mtok": 0, "output_usd_per_mtok": 0}},
            },
        },
        prices={"house-model": ModelRates(input_usd_per_mtok=1, output_usd_per_mtok=2)},
    )
    assert made.price_usd("openai", "gpt-4o", USAGE) == pytest.approx(0.0075)
    assert made.price_usd("anthropic", "claude-haiku-4-5", USAGE) == pytest.approx(0.0035)
    assert made.price_usd("anthropic", "gpt-4o", USAGE) is None
    assert made.price_usd("router", "openai/gpt-4o", USAGE) == pytest.approx(0.0075)
    assert made.price_usd("local", "gpt-4o", USAGE) == 0.0
    assert made.price_usd("local", "house-model", USAGE) == pytest.approx(0.002)
    assert made.price_usd("scripted", "gpt-4o", USAGE) == pytest.approx(0.0075)
    assert made.price_usd("scripted", "sim/refund-desk", USAGE) is None
    assert made.price_usd(f"{CREW}.Echo", "gpt-4o", USAGE) == pytest.approx(0.0075)


def test_what_the_site_holds_besides_is_a_known_secret_too() -> None:
    assert registry(site_secrets=["a signing key"]).known_secrets() == {"a signing key"}
