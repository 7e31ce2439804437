"""What is kept of a message that is not ours."""

from hypothesis import given
from hypothesis import strategies as st

from salvo_core.fleet.foreign import BEGINNING_CHARS_MAX, DETAIL_CHARS_MAX, ForeignMessage


@given(st.binary(max_size=5000), st.text(max_size=500))
def test_any_bytes_are_kept_as_a_bounded_line_of_printable_ascii(raw, detail):
    kept = ForeignMessage.of(raw, "unreadable", detail, at_ms=1)
    for text, most in ((kept.beginning, BEGINNING_CHARS_MAX), (kept.detail, DETAIL_CHARS_MAX)):
        assert len(text) <= most
        assert all(" " <= c <= "~" for c in text)
    assert kept.size_bytes == len(raw)
    assert ForeignMessage.model_validate_json(kept.model_dump_json()) == kept


def test_what_looks_like_a_secret_is_not_kept_also_where_the_text_is_cut():
    key = "sk-" + "a1B2" * 12
    for padding in (0, BEGINNING_CHARS_MAX - 20, BEGINNING_CHARS_MAX - 4):
        raw = b" " * padding + f'{{"api_key": "{key}"}}'.encode()
        assert key[:12] not in ForeignMessage.of(raw, "unreadable", "", at_ms=1).beginning


def test_text_is_readable_and_control_characters_are_spelt():
    kept = ForeignMessage.of("gr\u00fc\u00dfe\n\x1b[31m".encode(), "unreadable", "a\nb", at_ms=1)
    assert kept.beginning == r"gr\xfc\xdfe\n\x1b[31m"
    assert kept.detail == r"a\nb"
