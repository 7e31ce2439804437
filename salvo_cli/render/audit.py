"""What an audit found, and what a repair did."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType

from salvo_cli.render.console import Marks, one_line, plain
from salvo_cli.render.numbers import plural, short
from salvo_cli.render.tables import table
from salvo_core.repair import Repaired, within_reach
from salvo_core.run.discrepancies import REMEDIES, Audit, Discrepancy

WHAT_MAX = 300


def audit(
    found: Audit, *, signs: Marks, limit: int | None, rerun: bool = False, would: bool = False
) -> RenderableType:
    """Return what was found: a line when everything fits, else a table of what does not.

    Args:
        found: The audit.
        signs: Marks that the terminal can show.
        limit: Lines at most; None for all.
        rerun: Whether a repair may run trials again.
        would: Whether a repair was asked for that changes nothing.
    """
    wrong, ref = found.discrepancies, short(found.plan.run_id)
    looked = f"{plural(found.plan.total, 'trial')}, {plural(found.checked, 'trace')} read"
    lines: list[RenderableType] = []
    if not wrong:
        lines.append(plain(f"{signs.passed} run {ref} is {found.state} and fits together: {looked}", "green"))
    else:
        head = (
            f"{signs.failed} run {ref} is {found.state}: {plural(len(wrong), 'thing')} do not fit; {looked}"
        )
        lines += [plain(head.replace("1 thing do not", "1 thing does not"), "bold red"), plain("")]
        rows = [
            [_where(one), _what(one), REMEDIES[one.remedy]]
            for one in (wrong if limit is None else wrong[:limit])
        ]
        lines.append(table(("trial", "what is wrong", "a repair would"), rows, wide="what is wrong"))
        if limit is not None and len(wrong) > limit:
            lines.append(plain(f"{len(wrong) - limit:,} more: --limit 0 shows all", "dim"))
    lines += [plain(text, "dim") for text in _remarks(found)]
    reachable = sum(within_reach(one, rerun=rerun) for one in wrong)
    if would:
        lines.append(plain(f"a repair would put {reachable:,} of {len(wrong):,} right; nothing was changed"))
    elif reachable:
        lines.append(plain(f"`salvo audit {ref} --repair` puts {reachable:,} of {len(wrong):,} right"))
    return Group(*lines)


def repaired(done: Repaired) -> RenderableType:
    """Return what a repair did, in one line."""
    parts = [
        f"{plural(done.restated, 'row')} restored",
        *([f"{plural(done.sent, 'trial')} sent to be run"] if done.sent else []),
        *([f"{plural(done.pruned, 'trace')} of losing attempts deleted"] if done.pruned else []),
        *(["archive and summary written"] if done.sealed else []),
    ]
    return plain(f"repaired: {', '.join(parts)}")


def audit_document(found: Audit, done: Repaired | None, *, exit_code: int) -> dict[str, Any]:
    """Return an audit for ``--json``."""
    return {
        "schema": "salvo.cli.audit/1",
        "run_id": found.plan.run_id,
        "state": found.state,
        "live": found.live,
        "clean": found.clean,
        "exit_code": exit_code,
        "total": found.plan.total,
        "ended": found.ended,
        "checked": found.checked,
        "moving": found.moving,
        "discrepancies": [
            {
                "kind": one.kind,
                "index": one.index,
                "trace_id": one.trace_id,
                "key": one.key,
                "what": one.what,
                "remedy": one.remedy,
            }
            for one in found.discrepancies
        ],
        "losing": found.losing,
        "uncommitted": found.uncommitted,
        "unrecorded": found.unrecorded,
        "repaired": None
        if done is None
        else {
            "restated": done.restated,
            "sent": done.sent,
            "pruned": done.pruned,
            "sealed": done.sealed,
        },
    }


def _where(one: Discrepancy) -> str:
    return "run" if one.index is None else str(one.index)


def _what(one: Discrepancy) -> str:
    named = one.key if one.index is None else one.trace_id
    text = f"{one.kind.replace('_', ' ')}: {one_line(one.what, WHAT_MAX)}"
    return f"{text}\n{one_line(named, WHAT_MAX)}" if named else text


def _remarks(found: Audit) -> list[str]:
    told = []
    if found.moving:
        told.append("counters were not compared: trials began or ended meanwhile")
    if found.losing:
        count = plural(len(found.losing), "trace")
        told.append(f"{count} of attempts that lost their trial; no fault, --repair --prune deletes them")
    if found.unrecorded:
        told.append(f"{plural(found.unrecorded, 'row')} of trials that were ended without a trace")
    return told
