"""Writes what the first Salvo left on disk, as the contract describes it, whole or damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import uuid6

from salvo_core.identity import canonical_json, digest

SECRET = "sk-" + "pastpastpast1234567890ab"  # in one piece, a scanner of ours would find it
"""In every free text that salvo-ai stored, in the clear: raw traces, tool arguments, snapshots, details."""

ENDED_MS = 1_767_225_600_000
_NULLS = (
    "tool", "mode", "sequence", "value", "expression", "operator", "max_usd", "max_seconds", "criteria",
    "judge_model", "k", "custom_prompt", "threshold",
)  # fmt: skip


def past_id(number: int, at_ms: int = ENDED_MS) -> str:
    """Return a uuid7 of that time stamp, the same for the same number."""
    value = at_ms << 80 | 0x7 << 76 | 0b10 << 62 | number << 8  # apart from the next in more than the end
    return str(uuid6.UUID(int=value))


def assertion(type: str, **given: Any) -> dict[str, Any]:
    """Return an assertion in the predecessor's canonical form, with every key of every type."""
    weighed = {"weight": 1.0, "required": False, "include_system_prompt": False}
    return {"type": type, **dict.fromkeys(_NULLS), **weighed, **given}


def snapshot(**given: Any) -> dict[str, Any]:
    """Return a scenario as recordings had it."""
    tool = {
        "name": "look_up",
        "description": "Looks.",
        "parameters": {"type": "object", "properties": {}, "required": []},
        "mock_response": {"found": True},
    }
    return {
        "description": "refund desk",
        "tags": {},
        "adapter": "openai",
        "model": "gpt-4o",
        "system_prompt": "Be nice.",
        "prompt": "Refund order A-1001.",
        "tools": [tool],
        "assertions": [
            assertion("jmespath", expression="tool_calls[?name=='look_up'] | [0]", operator="exists"),
            assertion(
                "jmespath", expression="response.content", operator="contains", value="refund", weight=3.0
            ),
            assertion("tool_sequence", mode="in_order", sequence=["look_up"]),
            assertion("cost_limit", max_usd=1.0),
        ],
        "threshold": 0.8,
        "max_turns": 10,
        "temperature": None,
        "seed": None,
        "extras": {},
        **given,
    }


def result(type: str = "jmespath", passed: bool = True, **given: Any) -> dict[str, Any]:
    """Return one assertion's result in a suite."""
    return {
        "assertion_type": type,
        "score": 1.0 if passed else 0.0,
        "passed": passed,
        "weight": 1.0,
        "required": False,
        "details": "",
        "metadata": None,
        **given,
    }


def results(passed: bool = True) -> list[dict[str, Any]]:
    """Return the results of ``snapshot``'s assertions, the second of which quotes the answer."""
    said = f"path='response.content' operator=contains expected='refund' actual='the answer {SECRET}'"
    return [
        result(details="path='tool_calls' operator=exists expected=None actual={'id': 'c1'}"),
        result(passed=passed, details=said, weight=3.0),
        result("tool_sequence", details="In-order match"),
        result("cost_limit", details="Cost $0.0008 vs limit $1.0000"),
    ]


def judged(*votes: float, k: int = 3, cost: float = 0.0003) -> dict[str, Any]:
    """Return the result of a judge of one criterion."""
    criterion = {"name": "polite", "median_score": votes[0], "all_scores": list(votes), "weight": 1}
    metadata = {
        "judge_model": "gpt-4o-mini",
        "judge_k": k,
        "judge_cost_usd": cost,
        "per_criterion": [criterion],
    }
    return result("judge", score=votes[0], details=f"judge=gpt-4o-mini k={k}", metadata=metadata)


def trial(number: int, status: str = "passed", **given: Any) -> dict[str, Any]:
    """Return one trial of a suite."""
    infra = status == "infra_error"
    passed = status == "passed"
    return {
        "trial_number": number,
        "status": status,
        "score": 0.0 if infra else 1.0 if passed else 0.5,
        "passed": passed,
        "eval_results": [] if infra else results(passed),
        "latency_seconds": 0.5,
        "cost_usd": None if infra else 0.000775,
        "retries_used": 3 if infra else 0,
        "transient_error_types": ["AuthenticationError"] if infra else [],
        "error_message": f"no such key: {SECRET}" if infra else None,
        "trace_id": past_id(1000 + number, ENDED_MS - 2000),
        **given,
    }


def conversation(answer: str = f"Your refund is on its way. {SECRET}", **given: Any) -> dict[str, Any]:
    """Return a raw trace of two turns."""
    call = {"id": "c1", "name": "look_up", "arguments": {"id": "A-1", "api_key": SECRET}}
    blank = {"content": None, "tool_calls": None, "tool_call_id": None, "tool_name": None}
    return {
        "messages": [
            {**blank, "role": "system", "content": "Be nice."},
            {**blank, "role": "user", "content": "Refund order A-1001."},
            {**blank, "role": "assistant", "content": "One moment.", "tool_calls": [call]},
            {
                **blank,
                "role": "tool_result",
                "content": '{"found": true}',
                "tool_call_id": "c1",
                "tool_name": "look_up",
            },
            {**blank, "role": "assistant", "content": answer},
        ],
        "tool_calls_made": [call],
        "turn_count": 2,
        "input_tokens": 200,
        "output_tokens": 100,
        "total_tokens": 300,
        "latency_seconds": 0.25,
        "final_content": answer,
        "finish_reason": "stop",
        "model": "gpt-4o",
        "provider": "openai",
        "timestamp": "2025-12-31T23:59:58.500000Z",
        "scenario_hash": digest(canonical_json(snapshot())),
        "cost_usd": 0.000775,
        "extras_resolved": {"note": SECRET},
        "max_turns_hit": False,
        **given,
    }


def placeholder() -> dict[str, Any]:
    """Return what was stored instead of a conversation that an infrastructure error ended."""
    return conversation(
        messages=conversation()["messages"][:2],
        turn_count=0,
        input_tokens=0,
        output_tokens=0,
        finish_reason="error",
        provider="unknown",
        scenario_hash="",
        cost_usd=None,
        final_content=None,
        extras_resolved={},
    )


def without_content(trace: dict[str, Any]) -> dict[str, Any]:
    """Return a trace as the predecessor's ``metadata_only`` recorded it: the calls beside it still tell."""
    mark = "[CONTENT_EXCLUDED]"
    messages = []
    for message in trace["messages"]:
        calls = [{**call, "arguments": mark} for call in message["tool_calls"] or ()]
        messages.append({**message, "content": message["content"] and mark, "tool_calls": calls or None})
    return {**trace, "messages": messages, "final_content": None}


class Past:
    """A ``.salvo`` folder of salvo-ai.

    Args:
        folder: The folder; made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("runs", "traces"):
            (folder / name).mkdir(parents=True, exist_ok=True)

    def write(self, name: str, document: Any) -> Path:
        """Write one file: a document, or bytes as they are."""
        file = self.folder / name
        body = document if isinstance(document, bytes) else json.dumps(document, indent=2).encode()
        file.write_bytes(body)
        return file

    def run(
        self,
        number: int = 1,
        trials: list[dict[str, Any]] | None = None,
        *,
        recorded: str | None = "full",
        scenario: dict[str, Any] | None = None,
        traces: bool = True,
        **given: Any,
    ) -> str:
        """Write a run with traces, index and manifest; return its id. ``given`` goes into the suite."""
        run_id = past_id(number, ENDED_MS + number)
        trials = trials if trials is not None else [trial(1), trial(2, "failed")]
        for place, one in enumerate(trials):
            if one.get("trace_id") == trial(one["trial_number"])["trace_id"]:
                trials[place] = {
                    **one,
                    "trace_id": past_id(1000 * number + one["trial_number"], ENDED_MS - 2000),
                }
        self.write(f"runs/{run_id}.json", self._suite(run_id, trials, **given))
        for one in trials if traces else ():
            self._trace(run_id, one, recorded, scenario or snapshot())
        entries = [
            {"trace_id": one["trace_id"], "trial_index": one["trial_number"] - 1, "status": one["status"]}
            for one in trials
        ]
        self._add("traces/manifest.json", run_id, entries, recorded is not None)
        latest = self.folder / "runs" / "latest"
        latest.unlink(missing_ok=True)
        latest.symlink_to(f"{run_id}.json")
        return run_id

    def _trace(
        self, run_id: str, one: dict[str, Any], recorded: str | None, scenario: dict[str, Any]
    ) -> None:
        raw = placeholder() if one["status"] == "infra_error" else conversation()
        if raw["scenario_hash"]:
            raw["scenario_hash"] = digest(canonical_json(scenario))
        self.write(f"traces/{one['trace_id']}.json", raw)
        if recorded is not None:
            self.write(
                f"traces/{one['trace_id']}.recorded.json", self._recording(run_id, raw, recorded, scenario)
            )

    @staticmethod
    def _recording(run_id: str, raw: dict[str, Any], mode: str, scenario: dict[str, Any]) -> dict[str, Any]:
        metadata = {
            "schema_version": 1,
            "recording_mode": mode,
            "salvo_version": "0.1.0",
            "recorded_at": "2026-01-01T00:00:01Z",
            "source_run_id": run_id,
            "scenario_name": scenario["description"],
            "scenario_file": "refund.yaml",
            "scenario_hash": raw["scenario_hash"],
        }
        trace = without_content(raw) if mode == "metadata_only" else raw
        return {
            "metadata": metadata,
            "trace": trace,
            "scenario_snapshot": scenario,
            "original_trace_id": None,
        }

    def _add(self, name: str, run_id: str, entries: list[dict[str, Any]], recorded: bool) -> None:
        file = self.folder / name
        manifest = json.loads(file.read_text()) if file.exists() else {"schema_version": 1, "runs": {}}
        manifest["runs"][run_id] = {
            "trace_ids": entries,
            "recorded": recorded,
            "scenario_name": "refund desk",
            "created_at": "2026-01-01T00:00:00+00:00",
        }
        self.write(name, manifest)
        index = self.folder / "index.json"
        known = json.loads(index.read_text()) if index.exists() else {}
        known.setdefault("refund desk", []).append(run_id)
        self.write("index.json", known)

    @staticmethod
    def _suite(run_id: str, trials: list[dict[str, Any]], **given: Any) -> dict[str, Any]:
        scored = [one["score"] for one in trials if one["status"] != "infra_error"]
        of = {status: sum(one["status"] == status for one in trials) for status in _STATUSES}
        average = sum(scored) / len(scored) if scored else 0.0
        return {
            "run_id": run_id,
            "scenario_name": "refund desk",
            "scenario_file": "refund.yaml",
            "model": "gpt-4o",
            "adapter": "openai",
            "trials": trials,
            "trials_total": len(trials),
            **{f"trials_{status}": count for status, count in of.items()},
            "verdict": "INFRA_ERROR" if of["infra_error"] else "HARD FAIL" if of["hard_fail"] else "PARTIAL",
            "pass_rate": of["passed"] / len(scored) if scored else 0.0,
            "score_avg": average,
            "score_min": min(scored, default=0.0),
            "score_p50": average,
            "score_p95": max(scored, default=0.0),
            "threshold": 0.8,
            "cost_total": 0.00155,
            "cost_avg_per_trial": 0.000775,
            "judge_cost_total": None,
            "latency_p50": 0.5,
            "latency_p95": 0.5,
            "total_retries": 0,
            "trials_with_retries": 0,
            "early_stopped": False,
            "early_stop_reason": None,
            "n_requested": len(trials),
            "assertion_failures": [],
            **given,
        }

    def everything(self) -> dict[str, tuple[bytes, float]]:
        """Return each file's bytes and time of change: what an import may not touch."""
        return {
            str(path.relative_to(self.folder)): (path.read_bytes(), path.lstat().st_mtime)
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }


_STATUSES = ("passed", "failed", "hard_fail", "infra_error")
