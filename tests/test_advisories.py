"""An audit that was none is never taken for a good one."""

import pytest

from tests import advisories

PINS = {"a": "1", "b": "2", "c": "3"}
A = {"name": "A", "version": "1", "vulns": []}
B = {"name": "b", "version": "2", "vulns": []}
BAD = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
C = {"name": "c", "version": "3", "vulns": []}
SKIPPED = {"name": "c", "skip_reason": "not found"}


def document(*dependencies):
    return {"dependencies": list(dependencies)}


@pytest.mark.parametrize(
    ("first", "second", "code", "strict_code", "said"),
    [
        (document(A, B, C), None, 0, 0, ["no known vulnerabilities in 3 packages"]),
        (document(A, BAD, C), None, 1, 1, ["VULNERABLE: b 2: CVE-1, mended in 3"]),
        (document(A, B, SKIPPED), document(A, B, C), 0, 0, ["no known vulnerabilities in 3 packages"]),
        (document(A, B, SKIPPED), document(A, BAD, C), 1, 1, ["VULNERABLE: b 2: CVE-1, mended in 3"]),
        (
            document(A, BAD, SKIPPED), document(A, BAD, SKIPPED), 1, 1,
            ["VULNERABLE: b 2: CVE-1, mended in 3", "NOT AUDITED: 1 of 3 packages:", "c: not found"],
        ),
        (document(A, B), document(A, B), 0, 1, ["NOT AUDITED: 1 of 3 packages:", "c: nobody was asked"]),
        (
            document(A, B, SKIPPED), None, 0, 1,
            ["NOT AUDITED: 1 of 3 packages:", "c: not found", "osv: no route"],
        ),
        (document(), "nonsense", 0, 1, ["NOT AUDITED: 3 of 3 packages:"]),
        (None, None, 0, 1, ["NOT AUDITED: 3 of 3 packages:"]),
        (["nonsense"], {"dependencies": None}, 0, 1, ["NOT AUDITED: 3 of 3 packages:"]),
    ],
    ids=[
        "good", "vulnerable", "the second knows", "the second knows better", "vulnerable and unknown",
        "a package left out", "the second is away", "empty", "both away", "nonsense",
    ],
)  # fmt: skip
def test_each_answer_is_told_as_what_it_is(monkeypatch, capsys, first, second, code, strict_code, said):
    answered = {"pypi": first, "osv": second}
    monkeypatch.setattr(advisories, "pinned", lambda text: PINS)
    monkeypatch.setattr(advisories, "ask", lambda service: (answered[service], "no route"))
    monkeypatch.delenv("AUDIT", raising=False)
    for ci, expected in (("", code), ("true", strict_code)):
        monkeypatch.setenv("CI", ci)
        assert advisories.main() == expected
        told = capsys.readouterr()
        loud = "NOT AUDITED" in said[0] or code == 1
        assert [line for line in (told.err if loud else told.out).splitlines() if line[0] != "="][
            : len(said)
        ] == said
        assert (told.out if loud else told.err) == ""


def test_the_second_service_is_asked_only_about_what_the_first_did_not_know(monkeypatch):
    asked = []
    monkeypatch.setattr(advisories, "pinned", lambda text: PINS)
    monkeypatch.setattr(
        advisories, "ask", lambda service: (asked.append(service), (document(A, B, C), ""))[1]
    )
    monkeypatch.delenv("AUDIT", raising=False)
    assert advisories.main() == 0
    assert asked == ["pypi"]


def test_an_audit_of_nothing_is_a_failure():
    assert advisories.judge(advisories.Answers(), {}, strict=False)[0] == 1


def test_an_audit_that_is_left_out_says_so(monkeypatch, capsys):
    monkeypatch.setenv("AUDIT", "no")
    assert advisories.main() == 0
    assert "NOT AUDITED" in capsys.readouterr().err


def test_everything_that_is_pinned_is_asked_about():
    pins = advisories.pinned(advisories.PINS.read_text("utf-8"))
    assert len(pins) == advisories.PINS.read_text("utf-8").count("==")
    assert {"celery", "pyyaml", "typing-extensions"} <= pins.keys()
    assert advisories.pinned("A_b.C==1 ; python_version > '3'  # why\n# d==2\n") == {"a-b-c": "1"}
