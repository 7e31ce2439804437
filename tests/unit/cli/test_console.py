"""Text on a terminal: shown as it is, and never obeyed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salvo_cli.exits import OutputClosed
from salvo_cli.render.console import Marks, marks, one_line, plain, print_json, visible
from tests.unit.cli.drawing import ascii_console, drawn


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("[/b] and [bold]x[/bold]", "[/b] and [bold]x[/bold]"),
        (":smile: https://example.com", ":smile: https://example.com"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\rb", "a\\rb"),
        ("\u202egpj.exe", "\\u202egpj.exe"),
        ("\x9b2J", "\\x9b2J"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("naïve 日本 🙂", "naïve 日本 🙂"),
    ],
)
def test_text_is_shown_verbatim_and_control_characters_are_written_out(said, shown):
    assert visible(said) == shown


def test_markup_in_a_text_is_only_characters():
    assert drawn(plain("the answer is [/b] [red]42[/red]")).rstrip() == "the answer is [/b] [red]42[/red]"
    assert drawn("a string is no markup [/b] either").rstrip() == "a string is no markup [/b] either"


@given(st.text(max_size=300))
def test_whatever_a_model_says_can_be_drawn_and_sends_no_escape(said):
    text = drawn(plain(said))
    assert "\x1b" not in text
    assert "\r" not in text


@given(st.text(max_size=500), st.integers(min_value=2, max_value=60))
def test_one_line_is_one_line_of_at_most_that_length(said, length):
    made = one_line(said, length)
    assert "\n" not in made
    assert len(made) <= length


def test_an_ascii_terminal_gets_letters_for_marks():
    assert marks(ascii_console()).passed.isascii()
    assert marks(ascii_console()).bar.isascii()
    assert Marks().passed == "✓"


def test_a_document_is_json_whatever_the_text(capsys):
    print_json({"said": "[/b] \x1b[0m é 日本"})
    assert json.loads(capsys.readouterr().out) == {"said": "[/b] \x1b[0m é 日本"}


def test_a_reader_that_left_ends_the_printing_quietly(monkeypatch):
    class Closed:
        encoding = "utf-8"

        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stdout", Closed())
    with pytest.raises(OutputClosed):
        print_json({})
