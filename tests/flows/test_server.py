"""Which server the flows talk to, and that they wait for one that is unreachable."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from bestie.errors import InputError
from flows.server import connected, wait_until_it_answers


class Healthy(BaseHTTPRequestHandler):
    """Answers as a server of Prefect whose health is asked for."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"true")


def test_a_run_waits_for_a_server_that_is_away():
    server = HTTPServer(("127.0.0.1", 0), Healthy, bind_and_activate=False)
    server.server_bind()  # nobody listens yet: connections are refused
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            server.server_activate()
            threading.Thread(target=server.serve_forever, daemon=True).start()

    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api"}):
        wait_until_it_answers(sleep)
    server.shutdown()
    server.server_close()
    assert len(looks) == 2


def test_a_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flows.server.PATIENCE_S", 0.0)
    with HTTPServer(("127.0.0.1", 0), Healthy, bind_and_activate=False) as server:
        server.server_bind()  # nobody listens: connections are refused
        url = f"http://127.0.0.1:{server.server_port}/api"
        with (
            temporary_settings({PREFECT_API_URL: url}),
            pytest.raises(InputError, match=rf"no Prefect server answers at {url} .* correct PREFECT_API_URL"),
            connected(),
        ):
            pytest.fail("the run began without a server")


def test_a_home_in_which_nothing_can_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr("flows.server.api_url", lambda: None)
    with (
        temporary_settings({PREFECT_HOME: tmp_path / "file" / "home"}),
        pytest.raises(InputError, match=r"cannot write into PREFECT_HOME .*file.* choose another folder"),
        connected(),
    ):
        pytest.fail("the run began without a home")
