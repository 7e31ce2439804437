"""An audit that was none is never taken for a good one."""

import pytest

from tests import advisories

GOOD = {"name": "a", "version": "1", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found and could not be audited"}


@pytest.mark.parametrize(
    ("asked", "code", "strict_code", "first"),
    [
        ([GOOD], 0, 0, "no known vulnerabilities in 1 packages"),
        ([GOOD, BAD], 1, 1, "VULNERABLE: b 2: CVE-1, mended in 3"),
        ([GOOD, SKIPPED], 0, 1, "NOT AUDITED: 1 of 2 packages:"),
        ([BAD, SKIPPED], 1, 1, "VULNERABLE: b 2: CVE-1, mended in 3"),
    ],
)
def test_each_answer_is_told_as_what_it_is(asked, code, strict_code, first):
    for strict, expected in ((False, code), (True, strict_code)):
        found, lines = advisories.judge({"dependencies": asked}, "", strict=strict)
        assert (found, lines[0]) == (expected, first)


def test_no_answer_is_loud_and_fails_where_it_counts(monkeypatch, capsys):
    monkeypatch.setattr(advisories, "ask", lambda: (None, "ConnectionError: no route"))
    monkeypatch.delenv("AUDIT", raising=False)
    for ci, code in (("", 0), ("true", 1)):
        monkeypatch.setenv("CI", ci)
        assert advisories.main() == code
        said = capsys.readouterr()
        assert "NOT AUDITED" in said.err
        assert "no route" in said.err
        assert said.out == ""


def test_an_audit_of_nothing_is_a_failure():
    assert advisories.judge({"dependencies": []}, "", strict=False)[0] == 1
