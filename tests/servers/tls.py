"""Certificates of an authority that nobody but a test trusts."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

OPENSSL = shutil.which("openssl")


def make_certificates(folder: Path) -> tuple[Path, Path, Path]:
    """Return the files of an authority, and of a certificate for 127.0.0.1 that it signed, and its key."""
    authority, authority_key = folder / "ca.pem", folder / "ca.key"
    certificate, key, request = folder / "server.pem", folder / "server.key", folder / "server.csr"
    new = ("req", "-newkey", "rsa:2048", "-nodes")
    _openssl(
        *new, "-x509", "-days", "2", "-subj", "/CN=Salvo test authority",
        "-keyout", authority_key, "-out", authority,
    )  # fmt: skip
    _openssl(*new, "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", request)
    names = folder / "names"
    names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    _openssl(
        "x509", "-req", "-days", "2", "-in", request, "-CA", authority, "-CAkey", authority_key,
        "-CAcreateserial", "-extfile", names, "-out", certificate,
    )  # fmt: skip
    return authority, certificate, key


def _openssl(*arguments: str | Path) -> None:
    assert OPENSSL is not None
    subprocess.run([OPENSSL, *map(str, arguments)], check=True, capture_output=True, timeout=60)
