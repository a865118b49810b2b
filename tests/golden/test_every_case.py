"""No recorded file may lie in the folders without a test that reads it."""

import re
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path


def test_every_recorded_file_is_read_by_a_test(golden_files: Callable[[str], list[Path]]):
    others = sorted(set(Path(__file__).parent.glob("test_*.py")) - {Path(__file__)})
    sources = [path.read_text(encoding="utf-8") for path in others]
    patterns = {pattern for source in sources for pattern in re.findall(r'golden_files\("(.+?)"\)', source)}
    unread = [path for path in golden_files("*.npz") if not any(fnmatch(path.name, pattern) for pattern in patterns)]
    assert unread == []
