"""Whatever a file holds, it is read or refused with a message that names it, quickly and in bounded memory."""

import resource
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bestie.errors import InputError
from tests.fuzz.targets import TARGETS

#: What one file of a few hundred bytes may take, over what the process has when the tests begin.
MEMORY_BYTES = 3 * 2**30
SECONDS = 20
CASES = 400
QUICK = settings(
    max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
LONG = settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module", autouse=True)
def _bounded_memory() -> Iterator[None]:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


def read_or_refuse(name: str, content: bytes) -> None:
    """Write a file and read it. AssertionError for an InputError that does not name it; other errors go through."""
    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # libraries may warn of what they then read
        target.prepare(Path(folder))
        path = Path(folder) / target.path
        path.write_bytes(content)
        started = time.monotonic()
        try:
            target.read(Path(folder))
        except InputError as error:
            assert folder in str(error), f"no file is named: {error}"
            assert len(str(error)) < 4000
        assert time.monotonic() - started < SECONDS


@pytest.mark.parametrize("name", TARGETS)
@QUICK
@given(data=st.data())
def test_a_bad_file_is_read_or_refused(name: str, data: st.DataObject) -> None:
    read_or_refuse(name, data.draw(TARGETS[name].content))


@pytest.mark.slow  # 400 cases for each kind of file: more than 10,000
@pytest.mark.parametrize("name", TARGETS)
@LONG
@given(data=st.data())
def test_ten_thousand_bad_files_are_read_or_refused(name: str, data: st.DataObject) -> None:
    assert len(TARGETS) * CASES >= 10_000
    read_or_refuse(name, data.draw(TARGETS[name].content))
