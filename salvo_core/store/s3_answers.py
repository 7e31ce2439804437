"""What an S3 server's refusals mean to a person. Knows the protocol's codes, not the library.

Only codes and statuses are quoted: the text of an answer may hold a key, a token or a whole
request, and it is somebody else's.

Source:
    Amazon S3 API Reference, "Error responses"; MinIO's own codes begin with XMinio.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from salvo_core.errors import ObjectMissing, SalvoError, StoreRefused, StoreUnavailable, UsageError

_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CREDENTIALS = {
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "InvalidTokenId",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
}
_BUSY = {"RequestLimitExceeded", "RequestTimeout", "SlowDown", "Throttling", "ThrottlingException"}
_BUSY_STATUS = {408, 409, 425, 429}
_FULL_STATUS = 507


def answer_error(code: str, status: int, operation: str, *, key: str, where: str) -> SalvoError:
    """Return the error of ours for an answer that is not a success.

    Args:
        code: The ``Code`` in the body of the answer; what does not look like one is not quoted.
        status: The HTTP status.
        operation: What was asked, ``PutObject``.
        key: The key or prefix it was asked about.
        where: The store, for people, without secrets.
    """
    said = f"{where} answered {status} {code if _CODE.fullmatch(code) else '(no code)'} to {operation}"
    if code == "NoSuchBucket":
        return StoreRefused(
            f"the bucket of {where} does not exist",
            hint="create the bucket, or correct SALVO_STORE_URL or SALVO_S3_ENDPOINT_URL",
        )
    if status == 404:
        return ObjectMissing(f"nothing is stored under {key} in {where}")
    if code in _CREDENTIALS or status == 401:
        return StoreRefused(
            f"{said}: it does not accept the credentials",
            hint="check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN or AWS_PROFILE, "
            "the region, and this machine's clock",
        )
    if status == 403:
        return StoreRefused(
            f"{said}: these credentials may not do that",
            hint="allow s3:GetObject, s3:PutObject and s3:DeleteObject on the bucket's objects "
            "and s3:ListBucket on the bucket",
        )
    if status == _FULL_STATUS:
        return StoreUnavailable(f"{said}: it is full", hint="free some space there, then try again")
    if code in _BUSY or status in _BUSY_STATUS or (status >= 500 and status != 501):
        return StoreUnavailable(
            said,
            hint="try again; if it stays so, look at the server's log and at SALVO_S3_ENDPOINT_URL",
        )
    return StoreRefused(said, hint="check the bucket, the region and the endpoint in `salvo config`")


def shown_endpoint(endpoint_url: str) -> str:
    """Return an endpoint as it may be shown: scheme, host and port.

    Raises:
        UsageError: It is not an http or https address, or has a user name or a password in it.
    """
    form = "SALVO_S3_ENDPOINT_URL looks like http://127.0.0.1:9000 or https://s3.example.com"
    try:
        parts = urlsplit(endpoint_url)
        port = parts.port
    except ValueError:
        raise UsageError("the S3 endpoint is not an address", hint=form) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError("the S3 endpoint is not an http or https address", hint=form)
    if "@" in parts.netloc:
        raise UsageError(
            "the S3 endpoint has a user name or a password in it",
            hint=f"{form}; credentials belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}" if port else f"{parts.scheme}://{host}"
