"""An alert as text for Slack, and for what reads the same (Mattermost, Rocket.Chat).

Names of scenarios and models come from files, and what a model said may stand in a line. None of it may
call a person or a channel, or become a link: what would begin one is kept from doing so by a character
that is not seen, and everything a person reads stays as it was.
"""

from __future__ import annotations

import re
from typing import Any

from salvo_core.alerts.alert import Alert

TEXT_CHARS_MAX = 3_500
"""Before escaping. Slack asks for 4,000 at most."""

BREAK = "\u200b"
"""Zero width: between two characters that would otherwise mean something together."""

_SCHEME = re.compile(r"[^\W\d][\w+.-]*:(?=\S)")
"""https: mailto: tel: slack: and what else a client may know; a time of day is none."""

_MEANT = re.compile(
    r"""
      (?<=[@\#~])(?=\S)        # @channel, #channel, ~channel
    | (?<=\])(?=[\[(:])        # [text](address), [text][name], [name]: address
    | (?<=\w\.)(?=[^\W\d])     # example.com, which some clients turn into a link
    | (?<=[Ww]\.)(?=\S)        # www.1.example
    | (?<=`)(?=`)              # a fence of code would swallow what follows
    """,
    re.VERBOSE,
)


def slack_document(alert: Alert) -> dict[str, Any]:
    """Return what is posted to an incoming webhook."""
    return {
        "text": slack_text(alert),
        # Without these, Slack finds links and names in text by itself, and shows previews of links.
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def slack_text(alert: Alert) -> str:
    """Return an alert as lines of text: its title, what it says, and what to look up."""
    about = f"schedule {alert.schedule}" + (f" · run {alert.run_id}" if alert.run_id else "")
    lines = [alert.title, *alert.lines]
    kept: list[str] = []
    room = TEXT_CHARS_MAX - len(about)
    for place, line in enumerate(lines):
        flat = " ".join(line.split())
        if len(flat) > room:
            kept.append(f"… {len(lines) - place} more lines")
            break
        kept.append(flat)
        room -= len(flat) + 1
    return "\n".join(map(harmless, [*kept, about, f"alert {alert.id}"]))


def harmless(text: str) -> str:
    """Return one line that is only ever text: no mention, no link, nothing that turns its direction.

    What a person sees of it is the same.
    """
    seen = "".join(char if char.isprintable() else " " for char in text)
    broken = _MEANT.sub(BREAK, _SCHEME.sub(rf"\g<0>{BREAK}", seen))
    return broken.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
