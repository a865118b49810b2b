"""No recorded file may lie in the folder without a test that reads it."""

import re
from fnmatch import fnmatch
from pathlib import Path


def test_every_recorded_file_is_read_by_a_test(golden_dir: Path):
    sources = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py")]
    patterns = {pattern for source in sources for pattern in re.findall(r'golden_dir\.glob\("(.+?)"\)', source)}
    recorded = {path.name for path in golden_dir.glob("*.npz")}
    assert recorded
    unread = {name for name in recorded if not any(fnmatch(name, pattern) for pattern in patterns)}
    assert unread == set()
