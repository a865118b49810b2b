"""The Prefect server that a command talks to."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic
from urllib.error import URLError
from urllib.request import urlopen

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from bestie.errors import InputError

#: The address of the server that `make serve` starts.
LOCAL_API = "http://127.0.0.1:4200/api"
POLL_S = 1.0
#: How long a server that is being restarted is waited for before a command begins.
PATIENCE_S = 10.0


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
    """Talk to the server of `api_url` in this context, and yield its address; without one, Prefect starts its own.

    Raises:
        InputError: the server that Prefect is configured for does not answer for `PATIENCE_S`, or Prefect's own server
            cannot write into its folder.
    """
    url = api_url()
    with temporary_settings({PREFECT_API_URL: url} if url else {}):
        if url:
            _check_server(url)
        else:
            _check_home(PREFECT_HOME.value())
        yield url


def _check_server(url: str) -> None:
    until = monotonic() + PATIENCE_S
    with get_client(sync_client=True) as client:
        while (error := client.api_healthcheck()) is not None:
            if monotonic() > until:
                raise InputError(
                    f"no Prefect server answers at {url} ({error}); start it, correct PREFECT_API_URL, or unset it"
                ) from error
            time.sleep(POLL_S)


def _check_home(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"Prefect cannot write into PREFECT_HOME ({error}); choose another folder") from error


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
