"""What a terminal of a given width would show, as plain text."""

from io import BytesIO, StringIO, TextIOWrapper

from salvo_cli.render.console import console


def drawn(renderable, width=80):
    paper = StringIO()
    console(file=paper, width=width).print(renderable)
    return paper.getvalue()


def ascii_console(width=80):
    return console(file=TextIOWrapper(BytesIO(), encoding="ascii", errors="backslashreplace"), width=width)
