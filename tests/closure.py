"""Which of the project's files a module imports, directly or not: what DVC cannot see by itself.

`python tests/closure.py` prints the code dependencies that each stage of dvc.yaml must declare.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bestie", "stages", "flows")


def module_file(name: str) -> Path | None:
    """The file of a module of this project, relative to the root; None for anything else."""
    if name.split(".")[0] not in PACKAGES:
        return None
    path = Path(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if (ROOT / candidate).is_file():
            return candidate
    return None


def imported_names(path: Path) -> set[str]:
    """Every module that a file imports anywhere in it, and the packages around them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 2)}


def closure(path: Path) -> set[str]:
    """All files of this project that run when `path` is imported, itself included; empty packages are left out."""
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        waiting += [file for name in imported_names(current) if (file := module_file(name)) is not None]
    return {str(file) for file in seen if not _is_docstring_only(file)}


def _is_docstring_only(path: Path) -> bool:
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return all(isinstance(node, ast.Expr) for node in body)


if __name__ == "__main__":
    import yaml

    for stage in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]:
        print(f"{stage}:")
        for file in sorted(closure(Path("stages") / f"{stage}.py")):
            print(f"      - {file}")
