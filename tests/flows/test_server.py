"""Which server the flows talk to, and that they wait for one that is unreachable."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.server import wait_until_it_answers


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
