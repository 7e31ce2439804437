"""``python -m salvo_cli``: the same as ``salvo``."""

from salvo_cli.main import run

if __name__ == "__main__":
    run()
