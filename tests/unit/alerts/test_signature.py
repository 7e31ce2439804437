"""What a webhook's request is signed with: known answers, and the receiver of the documents."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest

from salvo_core.alerts.webhook import signature
from tests.unit.alerts.builders import KEY, an_alert

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "alerts.md"


def test_a_fixed_body_has_a_fixed_signature() -> None:
    # printf '1795485600.{"id":"a"}' | openssl dgst -sha256 -hmac a-signing-key-of-at-least-32-bytes
    assert signature([KEY], "1795485600", b'{"id":"a"}') == (
        "v1=e9369a55725d5615be094a2f9ede41f943e2cb1a3f55f324b7103db375a82efb"
    )


def test_while_keys_change_each_signs() -> None:
    new, old = KEY, KEY[::-1]
    assert signature([new, old], "1", b"x").split(",") == [
        signature([new], "1", b"x"),
        signature([old], "1", b"x"),
    ]


def test_the_document_of_an_alert_is_the_one_that_is_described() -> None:
    assert an_alert().body() == (
        b'{"schema":"salvo.alert/1","id":"0f3a.alert","incident":"0f3a","kind":"alert","schedule":"nightly",'
        b'"run_id":"0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111","at":"2026-11-24T02:00:00Z",'
        b'"title":"refund passes less often","lines":["0.85 before, 0.55 now"],'
        b'"cells":[{"scenario":"refund","model":"m","rate":0.55,"reference":0.85,"n":20,"evidence":4.5}],'
        b'"test":false}'
    )
    described = DOCUMENT.read_text("utf-8")
    assert all(f"`{field}`" in described for field in (*type(an_alert()).model_fields, "schema"))


@pytest.fixture
def is_from_salvo() -> Any:
    """The receiver that docs/alerts.md shows, as it stands there."""
    (shown,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text("utf-8"), re.S)
    names: dict[str, Any] = {}
    exec(shown, names)
    return names["is_from_salvo"]


def test_the_receiver_that_is_shown_believes_us_and_nobody_else(is_from_salvo: Any) -> None:
    body, now, other = an_alert().body(), str(int(time.time())), KEY[::-1]

    def headers(keys: list[str], timestamp: str = now, signed: bytes = body) -> dict[str, str]:
        return {"X-Salvo-Timestamp": timestamp, "X-Salvo-Signature": signature(keys, timestamp, signed)}

    assert is_from_salvo(headers([KEY]), body, KEY)
    assert is_from_salvo(headers([other, KEY]), body, KEY)
    assert not is_from_salvo(headers([other]), body, KEY)
    assert not is_from_salvo(headers([KEY]), body + b" ", KEY)
    late = str(int(now) - 3600)
    assert not is_from_salvo(headers([KEY], late), body, KEY)
    assert not is_from_salvo(headers([KEY], late) | {"X-Salvo-Timestamp": now}, body, KEY)
