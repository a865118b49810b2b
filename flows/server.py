"""Which Prefect server a command talks to."""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import URLError
from urllib.request import urlopen

from prefect.settings import PREFECT_API_URL, temporary_settings

from bestie.errors import InputError

#: Where `make serve` puts the server.
LOCAL_API = "http://127.0.0.1:4200/api"


def api_url() -> str | None:
    """The server that Prefect is configured for; else that of `make serve` if it runs; else None."""
    configured = PREFECT_API_URL.value()
    if configured:
        return str(configured)
    try:
        with urlopen(f"{LOCAL_API}/health", timeout=1) as answer:
            return LOCAL_API if answer.read() == b"true" else None
    except (URLError, OSError):
        return None


@contextmanager
def connected() -> Iterator[str | None]:
    """Talk to the server of `api_url` inside this context; without one, Prefect starts its own for that time."""
    url = api_url()
    with temporary_settings({PREFECT_API_URL: url} if url else {}):
        yield url


@contextmanager
def needed() -> Iterator[str]:
    """As `connected`, for what is of no use without a server that stays.

    Raises:
        InputError: there is none.
    """
    with connected() as url:
        if url is None:
            raise InputError("there is no Prefect server: start one with `make serve`, or set PREFECT_API_URL")
        yield url
