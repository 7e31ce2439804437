"""Text in Slack is only ever text, whatever somebody put into it."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salvo_core.alerts.slack import BREAK, TEXT_CHARS_MAX, harmless, slack_document, slack_text
from tests.unit.alerts.builders import an_alert

# What Slack, Mattermost and Rocket.Chat make something of.
MEANT = [
    r"[@#~]\w",  # mentions of people, channels and groups by name
    r"[A-Za-z][\w+.-]*:[^\s\u200b]",  # https://, mailto:, tel:, slack://
    r"\w\.[A-Za-z]",  # example.com
    r"www\.[^\s\u200b]",
    r"\]\s?\(",  # Markdown's links and pictures
    r"\]\[",
    r"\]:",
    r"``",
]
HOSTILE = [
    "<!channel>",
    "<!subteam^S1|@ops>",
    "<@U123>",
    "<https://evil.example|the dashboard>",
    "@channel @here @all @ops",
    "~town-square #general",
    "https://evil.example/a?b=c",
    "HTTPS://EVIL.EXAMPLE",
    "see www.1.example and evil.example",
    "mailto:a@evil.example tel:112 slack://open",
    "[the run](https://evil.example) ![x](https://evil.example/p.png) [a][b]",
    "[a]: https://evil.example",
    "```\n@here",
    "&lt;!channel&gt;",
    "h323:0 A0:<!channel>",
    "a\u202egnp.exe\u2066",
    "@\u200bhere @\u2060here",
]


def readable(text: str) -> str:
    """Return what a person sees of text in Slack."""
    return html.unescape(text.replace(BREAK, ""))


def assert_harmless(text: str) -> None:
    said = harmless(text)
    # Slack's own all stand in angle brackets: <@U1>, <!channel>, <https://...|text>.
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", said)
    # As a client sees it that has undone the escapes: what it would find then must not be there either.
    unescaped = html.unescape(said)
    for meant in MEANT:
        assert not re.search(meant, unescaped), (meant, unescaped)
    assert readable(said) == "".join(char if char.isprintable() else " " for char in text)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_somebody_wrote_becomes_a_mention_or_a_link(text: str) -> None:
    assert_harmless(text)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([*HOSTILE, "@", "#", "~", ":", "/", "[", "]", "(", ")", ".", "<", ">", "&", "`"]),
            st.text(max_size=8),
            st.sampled_from([BREAK, "\u2060", "\n", "lt;", "amp;", "www", "http", "com"]),
        ),
        max_size=12,
    )
)
def test_no_text_can_forge_a_mention_or_a_link(pieces: list[str]) -> None:
    assert_harmless("".join(pieces))


def test_what_is_plain_stays_as_it_is() -> None:
    plain = "refund: 17 of 20 passed (0.85), 02:00 to 04:10, gpt-4.1, 3 > 2 & more"
    assert harmless(plain) == plain.replace("&", "&amp;").replace(">", "&gt;")


def test_an_alert_is_title_lines_and_what_to_look_up() -> None:
    document = slack_document(an_alert(title="Worse", lines=("one\ntwo", "three")))
    assert document == {
        "text": (
            "Worse\none two\nthree\n"
            "schedule nightly · run 0199c2f4-7b1e-7c3a-9d52-0a4be1f0c111\n"
            f"alert 0f3a.{BREAK}alert"
        ),
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def test_a_long_alert_is_cut_at_a_line_and_says_so() -> None:
    text = slack_text(an_alert(lines=tuple("x" * 1_000 for _ in range(10))))
    assert len(text) < TEXT_CHARS_MAX + 200
    assert "\n… 7 more lines\nschedule nightly" in text
