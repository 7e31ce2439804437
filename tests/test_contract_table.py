"""Every test case of the predecessor's contract is tested."""

from tests.contract_table import CASES, DIFFERENT, cases_tested


def test_every_case_has_a_test_and_no_number_is_invented():
    assert sorted(cases_tested()) == list(CASES)


def test_differences_are_told_of_cases_that_exist():
    assert DIFFERENT.keys() <= set(CASES)
