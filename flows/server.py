"""Which Prefect server a command talks to."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.error import URLError
from urllib.request import urlopen

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from bestie.errors import InputError

#: Where `make serve` puts the server.
LOCAL_API = "http://127.0.0.1:4200/api"
POLL_S = 1.0


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


def wait_until_it_answers(sleep: Callable[[float], None]) -> None:
    """Return when the server answers. It may be restarting, and a client of Prefect that is new gives up at once.

    Args:
        sleep: called with seconds to wait before the next look; may raise to give up.
    """
    with get_client(sync_client=True) as client:
        while client.api_healthcheck() is not None:
            sleep(POLL_S)


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
