"""The option `--classes` of `bestie init`: class names, and possibly their numbers on the WSSS maps."""

import re

from bestie.datasets.base import MAX_CATEGORIES, check_categories
from bestie.errors import InputError


def parse_classes(text: str | None) -> tuple[list[str] | None, dict[str, int] | None]:
    """Return class names in the order of their category_id, and their numbers on the WSSS maps if there are any.

    Args:
        text: names, separated by commas or semicolons, each with its number (`cow=10`) or all without; None: no names.

    Raises:
        InputError: only some have a number, or two have the same name or number.
    """
    if text is None:
        return None, None
    parts = [part.strip() for part in text.split(";" if ";" in text else ",")]
    numbered = [match for part in parts if (match := re.fullmatch(r"(.+?)\s*=\s*(\d+)", part))]
    if not numbered:
        check_categories("--classes", parts)
        return parts, None
    if len(numbered) < len(parts):
        lacking = next(part for part in parts if not re.fullmatch(r".+=\s*\d+", part))
        raise InputError(
            f"--classes: {lacking!r} has no number, but {numbered[0][1]!r} has; write cow=10 for each class"
        )
    names, numbers = [match[1] for match in numbered], [int(match[2]) for match in numbered]
    check_categories("--classes", names)
    if outside := [number for number in numbers if not 1 <= number <= MAX_CATEGORIES]:
        raise InputError(f"--classes: the number {outside[0]} is none of 1 to {MAX_CATEGORIES}; correct it")
    if twice := [number for number in numbers if numbers.count(number) > 1]:
        raise InputError(f"--classes: two classes have the number {twice[0]}; give each class a number of its own")
    return names, dict(zip(names, numbers, strict=True))
