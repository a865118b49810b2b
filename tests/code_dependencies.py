"""What each stage imports, directly or not, compared with what it declares in `dvc.yaml`: DVC cannot see imports.

`python -m tests.code_dependencies` prints what each stage imports without declaring it, and declares without need.
"""

import ast
from functools import cache
from pathlib import Path

import grimp
import yaml

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("bestie", "stages")
FOR_USERS = Path("bestie/__init__.py")


@cache
def import_graph() -> grimp.ImportGraph:
    """Return the imports of the project's modules, including those inside functions."""
    return grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)


def imported_files(module: str) -> set[str]:
    """Return the files that run when a module is imported, without packages that hold only a docstring.

    Nor does `bestie/__init__.py` count: it only defines `bestie.load`, for users.
    """
    modules = import_graph().find_upstream_modules(module) | {module}
    packages = {name.rsplit(".", depth)[0] for name in modules for depth in range(1, name.count(".") + 1)}
    files = {path for path in map(_file, modules | packages) if not _is_docstring_only(path)}
    return {str(path) for path in files - {FOR_USERS}}


def declared_code(stage: str) -> set[str]:
    """Return the files and folders of code among the dependencies of a stage."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {dep for dep in stages[stage]["deps"] if dep.startswith(tuple(f"{each}/" for each in PACKAGES))}


def undeclared(stage: str) -> set[str]:
    """Return the files that a stage imports and that none of its declared files and folders covers."""
    declared = declared_code(stage)
    return {file for file in imported_files(f"stages.{stage}") if not any(covers(each, file) for each in declared)}


def needless(stage: str) -> set[str]:
    """Return the declared files and folders from which a stage imports nothing."""
    imported = imported_files(f"stages.{stage}")
    return {each for each in declared_code(stage) if not any(covers(each, file) for file in imported)}


def covers(declared: str, file: str) -> bool:
    """Return whether a declared path is the file, or a folder above it."""
    return file == declared or file.startswith(f"{declared}/")


def _file(module: str) -> Path:
    path = Path(*module.split("."))
    return path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")


def _is_docstring_only(path: Path) -> bool:
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return all(isinstance(node, ast.Expr) for node in body)


if __name__ == "__main__":
    for name in yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]:
        print(f"{name}: add {sorted(undeclared(name))}, remove {sorted(needless(name))}")
