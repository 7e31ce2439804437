"""One table of exit codes, and every place that tells of them to people."""

from __future__ import annotations

import re

import pytest

from salvo_cli import exits, main
from salvo_core.run.verdict import EXIT_CODES
from tests.test_house import ROOT
from tests.unit.cli.test_command_line import COMMANDS

GATE_CODES = {"SAME": 0, "IMPROVED": 0, "REGRESSED": 1, "INCONCLUSIVE": 4}
VERDICTS = {**EXIT_CODES, "INFRA ERROR": EXIT_CODES["INFRA_ERROR"], **GATE_CODES}
WORDS = re.compile(r"HARD FAIL|INFRA[_ ]ERROR|INCONCLUSIVE|REGRESSED|IMPROVED|PARTIAL|SAME|PASS|FAIL")


def table_of(page: str) -> dict[int, str]:
    """A page's table of exit codes: what each row says."""
    text = (
        (ROOT / page)
        .read_text("utf-8")
        .partition("| exit code | means |\n|---|---|\n")[2]
        .partition("\n\n")[0]
    )
    rows = [re.fullmatch(r"\| (\d+) \| (.+) \|", row) for row in text.strip().splitlines()]
    assert all(rows or [None]), f"{page} has no table of exit codes"
    return {int(row[1]): row[2] for row in rows if row}


def misplaced(code: int, said: str) -> list[str]:
    """Verdicts that are named beside a code that is not theirs."""
    return [word for word in WORDS.findall(said) if VERDICTS[word] != code]


def test_the_readme_tells_every_code_in_the_words_of_the_table():
    assert table_of("README.md") == {code: means.fully for code, means in exits.CODES.items()}


def test_every_verdict_stands_beside_its_code_in_the_table():
    for code, means in exits.CODES.items():
        for said in means:
            assert not misplaced(code, said)
    told = {word for means in exits.CODES.values() for word in WORDS.findall(means.fully)}
    assert told == {*EXIT_CODES, *GATE_CODES}


def test_the_gate_for_ci_tells_the_codes_that_it_can_exit_with():
    told = table_of("deploy/ci/README.md")
    assert set(told) == {*EXIT_CODES.values(), exits.USAGE, exits.UNAVAILABLE}
    for code, said in told.items():
        assert set(WORDS.findall(exits.CODES[code].fully)) <= {*WORDS.findall(said)}
        assert not misplaced(code, said)
        if code not in EXIT_CODES.values():
            assert said.endswith(exits.CODES[code].fully)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_tells_only_codes_of_the_table_and_verdicts_beside_their_own(command, capsys):
    assert main.main([*command.split(), "--help"]) == exits.OK
    lines = capsys.readouterr().out.partition("Exit codes:\n")[2].strip().splitlines()
    told = [part.strip() for line in lines for part in line.split(" · ")]
    codes = [re.match(r"(\d+) (.+)", part) for part in told]
    assert any(codes)
    for found in codes:
        if found is not None:
            assert int(found[1]) in exits.CODES
            # "whatever the verdict" names none; a code's own verdict stands first in what is said of it.
            first = WORDS.match(found[2])
            assert first is None or VERDICTS[first[0]] == int(found[1])
