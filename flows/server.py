"""The Prefect server that a command talks to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.error import URLError
from urllib.request import urlopen

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from bestie.errors import InputError

#: The address of the server that `make serve` starts.
LOCAL_API = "http://127.0.0.1:4200/api"
POLL_S = 1.0


def api_url() -> str | None:
    """Return the server that Prefect is configured for; otherwise that of `make serve` if it runs; otherwise None."""
    configured = PREFECT_API_URL.value()
    if configured:
        return str(configured)
    try:
        with urlopen(f"{LOCAL_API}/health", timeout=1) as answer:
            return LOCAL_API if answer.read() == b"true" else None
    except (URLError, OSError):
        return None


def wait_until_it_answers(sleep: Callable[[float], None]) -> None:
    """Wait until the server answers. It may be restarting, and a new client of Prefect gives up at once.

    Args:
        sleep: called with the seconds to wait before the next attempt; may raise to give up.
    """
    with get_client(sync_client=True) as client:
        while client.api_healthcheck() is not None:
            sleep(POLL_S)


@contextmanager
def connected() -> Iterator[str | None]:
    """Talk to the server of `api_url` in this context, and yield its address; without one, Prefect starts its own."""
    url = api_url()
    with temporary_settings({PREFECT_API_URL: url} if url else {}):
        yield url


@contextmanager
def needed() -> Iterator[str]:
    """Do what `connected` does, for commands that are of no use without a permanent server.

    Raises:
        InputError: there is none.
    """
    with connected() as url:
        if url is None:
            raise InputError("there is no Prefect server: start one with `make serve`, or set PREFECT_API_URL")
        yield url
