"""An S3 server for tests, by moto: a bucket in this process's memory, which can be away for a while."""

import logging

from moto.server import ThreadedMotoServer

from tests.clones import Clone

BUCKET = "bestie"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class ObjectStore:
    """The server; `stop` closes its port and `start` opens the same one again, with the same contents."""

    def __init__(self) -> None:
        self._port = 0

    def start(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs each request
        self._server = ThreadedMotoServer("127.0.0.1", self._port, verbose=False)
        self._server.start()
        _, self._port = self._server.get_host_and_port()

    def stop(self) -> None:
        self._server.stop()

    def add_to(self, clone: Clone) -> None:
        """Make the bucket the default remote of a clone."""
        clone.environment |= CREDENTIALS
        clone.dvc("remote", "add", "--quiet", "--force", "--local", "--default", "storage", f"s3://{BUCKET}/dvc")
        url = f"http://127.0.0.1:{self._port}"
        clone.dvc("remote", "modify", "--quiet", "--local", "storage", "endpointurl", url)

    def create_bucket(self, clone: Clone) -> None:
        """Create the bucket, by the client that DVC uses."""
        code = f"import s3fs; s3fs.S3FileSystem(endpoint_url='http://127.0.0.1:{self._port}').mkdir('{BUCKET}')"
        clone.run("python", "-c", code)
