"""Reading: bounds, encodings, includes, and positions that point at the right characters."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from salvo_core.scenario.parsed import Parsed
from salvo_core.scenario.source import NODES_MAX, parse_file, parse_text
from tests.unit.scenario.desk import MINIMAL, Desk


def parsed(text: str, folder: Path = Path()) -> Parsed:
    return parse_text(text, name="s.yaml", folder=folder, boundary=folder)


def codes(found: Parsed) -> list[str]:
    return [problem.code for problem in found.problems]


# Positions


def test_keys_values_and_list_items_have_the_position_of_their_first_character() -> None:
    text = "model: gpt-4o\ntools:\n  - name: a\n    description: d\n  - {name: b, description: 'é'}\n"
    text += "extras: {x: [1, 22]}\n"
    found = parsed(text).positions
    lines = text.splitlines()

    def marked(spot: Any) -> str:
        return lines[spot.line - 1][spot.col - 1 : spot.col - 1 + spot.width]

    assert marked(found.keys["model",]) == "model"
    assert marked(found.values["model",]) == "gpt-4o"
    assert marked(found.keys["tools", 0, "description"]) == "description"
    assert marked(found.keys["tools", 1, "description"]) == "description"
    assert marked(found.values["tools", 1, "description"]) == "'é'"
    assert marked(found.values["extras", "x", 1]) == "22"
    assert (found.values["tools", 0].line, found.values["tools", 0].col) == (3, 5)
    assert marked(found.values["tools", 1]) == "{name: b, description: 'é'}"


_scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(max_size=8)
# YAML 1.1 takes 1e-09 for text: its floats need a dot.
_floats = st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: "e" not in repr(number))
_documents = st.recursive(
    _scalars | _floats,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)


@given(_documents)
@settings(max_examples=100, deadline=None)
def test_json_is_read_as_what_it_says_and_every_key_is_where_the_map_says(document: Any) -> None:
    import json

    text = json.dumps({"root": document}, indent=1)
    found = parsed(text)
    if found.problems:  # characters that YAML refuses, or two keys that are one
        return
    assert found.data == {"root": document}
    lines = text.split("\n")
    for path, spot in found.positions.keys.items():
        written = lines[spot.line - 1][spot.col - 1 :]
        assert written.startswith(json.dumps(path[-1]))


# What YAML allows and JSON does not


@pytest.mark.parametrize("text", ["when: 2026-12-04", "when: 2026-12-04 10:00:00", "b: !!binary aGk="])
def test_dates_and_binary_are_refused_with_the_advice_to_quote(text: str) -> None:
    (problem,) = parsed(text).problems
    assert problem.code == "E004"
    assert problem.hint.startswith('quote it: "')


@pytest.mark.parametrize("text", ["a: .nan", "a: .inf", "a: -.inf", "a: 1.0e+400"])
def test_numbers_must_be_finite(text: str) -> None:
    assert codes(parsed(text)) == ["E003"]


@pytest.mark.parametrize("text", ["a: " + "9" * 30, "a: " + "9" * 5000, "a: 0x" + "f" * 5000, "a: !!int x"])
def test_numbers_must_fit(text: str) -> None:
    (problem,) = parsed(text).problems
    assert problem.code == "E003"
    assert len(problem.message) <= 80


def test_a_time_of_day_is_a_number_in_yaml_and_gets_a_warning() -> None:
    found = parsed("at: 12:30")
    assert found.data == {"at": 750}
    assert [(problem.code, problem.severity) for problem in found.problems] == [("W008", "warning")]


def test_keys_are_text_as_written() -> None:
    assert parsed("on: 1\n200: 2\nno: 3\n2026-01-01: 4\n~: 5\n").data == {
        "on": 1, "200": 2, "no": 3, "2026-01-01": 4, "~": 5,
    }  # fmt: skip


@pytest.mark.parametrize("text", ["? [a, b]\n: c", "{[a]: b}", "? {a: b}\n: c"])
def test_a_key_that_is_no_text_is_refused(text: str) -> None:
    assert codes(parsed(text)) == ["E004"]


@pytest.mark.parametrize(
    "tag", ["!!set {a}", "!!python/object/apply:os.system [ls]", "!foo bar", "!!omap [a: 1]"]
)
def test_no_tag_but_include_is_known(tag: str) -> None:
    (problem,) = parsed(f"a: {tag}").problems
    assert problem.code == "E006"
    assert "not allowed" in problem.message


def test_surrogate_pairs_of_json_are_joined_and_halves_refused() -> None:
    assert parsed(r'a: "\ud83d\ude00"').data == {"a": "😀"}
    assert codes(parsed(r'a: "\ud83d"')) == ["E003"]


@pytest.mark.parametrize(
    "text", ['a: "\\UFFFFFFFF"', "a: \x1b[31m", "a: \0", "%YAML " + "9" * 5000 + ".1\n---\na: 1"]
)
def test_characters_that_do_not_exist_or_are_not_allowed_are_located_errors(text: str) -> None:
    (problem,) = parsed(text).problems
    assert problem.code == "E006"
    assert problem.line == 1
    assert "\x1b" not in problem.source


def test_duplicate_keys_are_an_error_that_names_both_lines() -> None:
    (problem,) = parsed("a: 1\nb: 2\na: 3\n").problems
    assert (problem.code, problem.field, problem.line) == ("E011", "a", 3)
    assert "line 1" in problem.hint


def test_merge_keys_and_aliases_work() -> None:
    text = "one: &one {a: 1, b: 1}\ntwo: &two {b: 2, c: 2}\nall: {<<: [*one, *two], c: 3}\nagain: *one\n"
    found = parsed(text)
    assert found.data["all"] == {"a": 1, "b": 1, "c": 3}
    assert found.data["again"] == {"a": 1, "b": 1}
    assert codes(parsed("a: {<<: 5}")) == ["E006"]


def test_a_lone_equals_sign_is_text() -> None:
    assert parsed("a: =").data == {"a": "="}


# Bombs


def test_a_bomb_of_aliases_is_refused() -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
    )
    assert codes(parsed(laughs)) == ["E010"]


def test_a_bomb_of_merges_is_refused() -> None:
    chain = "- &a0 {x: 1}\n" + "".join(f"- &a{n} {{<<: *a{n - 1}, k{n}: 1}}\n" for n in range(1, 3000))
    assert codes(parsed(chain)) == ["E010"]


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: *a}", "a: &a {<<: *a}"])
def test_an_anchor_that_holds_itself_is_refused(text: str) -> None:
    assert codes(parsed(text)) == ["E010"]


@pytest.mark.parametrize("text", ["[" * 5000, "[" * 65 + "]" * 65, "- " * 70 + "x", "{a: " * 70 + "}" * 70])
def test_nesting_is_bounded(text: str) -> None:
    assert codes(parsed(text)) == ["E010"]


def test_a_document_of_too_many_values_is_refused() -> None:
    assert codes(parsed("[" + "1," * (NODES_MAX + 1) + "]")) == ["E010"]


# Files


def test_a_huge_file_is_refused_by_its_size_alone(desk: Desk) -> None:
    path = desk.root / "huge.yaml"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    (problem,) = parse_file(path, boundary=desk.root).problems
    assert problem.code == "E009"
    assert "50.0 MiB" in problem.message


def test_a_byte_that_is_not_utf8_is_named_with_its_offset_line_and_column(desk: Desk) -> None:
    problem = desk.problem("model: gpt\nprompt: Grüße\n".encode("latin-1"))
    assert (problem.code, problem.line, problem.col) == ("E009", 2, 11)
    assert "byte 0xFC at offset 21" in problem.message
    assert "UTF-8" in problem.hint


def test_utf16_is_recognised(desk: Desk) -> None:
    assert "UTF-16" in desk.problem(MINIMAL.encode("utf-16")).message


def test_a_byte_order_mark_is_accepted(desk: Desk) -> None:
    assert desk.load(b"\xef\xbb\xbf" + MINIMAL.encode()).scenario.prompt == "Hello"


def test_a_missing_file_a_folder_and_a_pipe_are_refused(desk: Desk) -> None:
    os.mkfifo(desk.root / "pipe.yaml")
    (desk.root / "folder.yaml").mkdir()
    for name, said in {
        "none.yaml": "does not exist",
        "folder.yaml": "folder",
        "pipe.yaml": "regular",
    }.items():
        (problem,) = parse_file(Path(name), boundary=desk.root).problems
        assert problem.code == "E009"
        assert said in problem.message


def test_a_loop_of_symlinks_is_refused(desk: Desk) -> None:
    (desk.root / "a.yaml").symlink_to("b.yaml")
    (desk.root / "b.yaml").symlink_to("a.yaml")
    (problem,) = parse_file(Path("a.yaml"), boundary=desk.root).problems
    assert problem.code == "E009"
    assert "back to itself" in problem.message


# Includes


def test_t14_an_include_is_relative_to_its_file_and_positions_are_those_of_the_included_file(
    desk: Desk,
) -> None:
    desk.write("scenarios/tools/search.yaml", "name: search\n\ndescriptoin: find\n")
    path = desk.write("scenarios/s.yaml", MINIMAL + "tools:\n  - !include tools/search.yaml\n")
    found = parse_file(path, boundary=desk.root)
    assert found.data["tools"] == [{"name": "search", "descriptoin": "find"}]
    spot = found.positions.keys["tools", 0, "descriptoin"]
    assert (spot.file, spot.line, spot.col) == ("scenarios/tools/search.yaml", 3, 1)
    assert found.included == {desk.root / "scenarios/tools/search.yaml"}


def test_includes_nest_and_each_is_relative_to_its_own_file(desk: Desk) -> None:
    desk.write("deep/b.yaml", "list: !include sub/c.yaml\n")
    desk.write("deep/sub/c.yaml", "[1, !include ../d.yaml]\n")
    desk.write("deep/d.yaml", "two\n")
    found = parse_file(desk.write("a.yaml", "x: !include deep/b.yaml\n"), boundary=desk.root)
    assert found.data == {"x": {"list": [1, "two"]}}
    assert found.positions.values["x", "list", 1].file == "deep/d.yaml"


def test_an_included_map_can_be_merged(desk: Desk) -> None:
    desk.write("base.yaml", "model: gpt-4o\nprompt: base\n")
    assert desk.load("<<: !include base.yaml\nprompt: own\n").scenario.prompt == "own"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("../outside.yaml", "leads out of the project"),
        ("tools/../../outside.yaml", "leads out of the project"),
        ("/etc/hostname", "absolute"),
        ("link.yaml", "leads out of the project"),
        ("none.yaml", "'none.yaml' does not exist"),
        ("folder", "'folder' is a folder"),
        ("loop.yaml", "back to itself"),
        ("''", "is not the path"),
        ("[a]", "takes the path of one file"),
    ],
)
def test_an_include_that_cannot_be_is_located_at_its_tag(tmp_path: Path, wanted: str, said: str) -> None:
    desk = Desk(tmp_path / "project")
    (desk.root / "folder").mkdir(parents=True)
    (tmp_path / "outside.yaml").write_text("secret: 1")
    (desk.root / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    (desk.root / "loop.yaml").symlink_to("loop.yaml")
    desk.write("s.yaml", f"a: 1\nb: !include {wanted}\n")
    (problem,) = parse_file(desk.root / "s.yaml", boundary=desk.root).problems
    assert (problem.code, problem.field, problem.line, problem.col) == ("E008", "b", 2, 4)
    assert said in problem.message


def test_a_circle_of_includes_is_refused_with_its_chain(desk: Desk) -> None:
    desk.write("b.yaml", "x: !include c.yaml\n")
    desk.write("c.yaml", "y: !include a.yaml\n")
    (problem,) = parse_file(desk.write("a.yaml", "z: !include b.yaml\n"), boundary=desk.root).problems
    assert problem.code == "E008"
    assert "a.yaml -> b.yaml -> c.yaml -> a.yaml" in problem.message
    assert (problem.file, problem.line) == ("c.yaml", 1)


def test_a_tower_of_includes_and_a_bomb_of_includes_are_refused(desk: Desk) -> None:
    for n in range(20):
        desk.write(f"t{n}.yaml", f"!include t{n + 1}.yaml\n")
        desk.write(f"w{n}.yaml", "[" + ", ".join([f"!include w{n + 1}.yaml"] * 10) + "]\n")
    desk.write("t20.yaml", "1\n")
    desk.write("w8.yaml", "x\n")
    assert codes(parse_file(Path("t0.yaml"), boundary=desk.root)) == ["E008"]
    assert "E010" in codes(parse_file(Path("w0.yaml"), boundary=desk.root))


def test_all_includes_together_are_bounded(desk: Desk) -> None:
    desk.write("big.yaml", '"' + "x" * 1_000_000 + '"\n')
    found = parse_file(
        desk.write("s.yaml", "".join(f"k{n}: !include big.yaml\n" for n in range(6))), boundary=desk.root
    )
    assert codes(found) == ["E008", "E008"]
    assert "above 4 MiB" in found.problems[0].message


def test_faults_of_an_included_file_are_located_in_it(desk: Desk) -> None:
    desk.write("open.yaml", "a: 1\nb: [1\n")
    desk.write("latin.yaml", "a: é".encode("latin-1"))
    desk.write("empty.yaml", "# nothing\n")
    found = parse_file(
        desk.write("s.yaml", "a: !include open.yaml\nb: !include latin.yaml\nc: !include empty.yaml\n"),
        boundary=desk.root,
    )
    assert [(problem.code, problem.file) for problem in found.problems] == [
        ("E006", "open.yaml"), ("E009", "latin.yaml"), ("E007", "s.yaml"),
    ]  # fmt: skip


# Anything at all


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused_with_located_problems(text: str) -> None:
    found = parsed(text)
    assert all(problem.file for problem in found.problems)


_PIECES = (
    *("a: ", "- ", "[", "]", "{", "}", "&x ", "*x", "<<: ", "!include ", "!!int ", "? ", ": ", ",", "#"),
    *("\n", "  ", "\t", "|\n", ">-\n", '"', "'", "---\n", "...\n", "%YAML 1.1\n", "\\u"),
    *("1:2", "2026-01-01", ".inf", "~", "="),
)
_yamlish = st.lists(st.sampled_from(_PIECES), max_size=25).map("".join)


@given(_yamlish)
@example("<<: ---\n<<: 2026-01-01")
@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_mixture_of_yaml_is_read_or_refused_with_located_problems(text: str) -> None:
    found = parsed(text)
    assert found.usable or found.problems


@given(st.binary(max_size=100))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(raw)
    found = parse_file(path, boundary=tmp_path)
    assert found.usable or found.problems
