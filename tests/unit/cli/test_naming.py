"""What the cells of a run are called."""

from dataclasses import dataclass

import pytest

from salvo_cli.render.naming import cell_names


@dataclass
class Cell:
    scenario_name: str
    model: str


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        ("a/x", "a"),
        ("a/x b/x", "a b"),
        ("a/x b/y", "a b"),
        ("a/x a/y", "x y"),
        ("a/x a/y b/x b/y", "a·x a·y b·x b·y"),
        ("a/x a/x", "a·x a·x"),  # two files of one name: nothing tells them apart but their number
    ],
)
def test_a_cell_is_called_by_what_tells_it_from_the_others(cells, names):
    given = [Cell(*cell.split("/")) for cell in cells.split()]
    assert [name.replace(" ", "") for name in cell_names(given)] == names.split()


def test_a_name_is_one_line_of_bounded_length():
    (name,) = cell_names([Cell("line\nbreak " + "x" * 200, "m")])
    assert "\n" not in name
    assert len(name) <= 60
