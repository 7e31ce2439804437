"""Every test case of the predecessor's contract is tested, or it is said why not."""

from tests.contract_table import CASES, DIFFERENT, NOT_YET, cases_tested


def test_every_case_has_a_test_or_a_reason_and_no_number_is_invented():
    found = cases_tested()
    assert set(found) <= set(CASES)
    assert [case for case in CASES if case not in found and case not in NOT_YET] == []


def test_differences_are_told_of_cases_that_exist():
    assert DIFFERENT.keys() | NOT_YET.keys() <= set(CASES)
