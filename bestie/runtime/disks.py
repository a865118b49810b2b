"""Errors of a disk that is full, read-only or over its quota, whichever library reports them."""

import errno
import logging

REMEDIES = {
    errno.ENOSPC: "the disk is full; make room",
    errno.EDQUOT: "the disk quota is used up; make room",
    errno.EFBIG: "a file would be larger than this file system or this process may write",
    errno.EROFS: "the file system is read-only; mount it for writing",
    errno.EACCES: "permission denied; correct the permissions",
    errno.EPERM: "permission denied; correct the permissions",
}


def storage_fault(error: BaseException) -> str | None:
    """Return a message for an error that comes from the disk; None for any other error.

    Libraries often raise their own errors in response to one from the operating system, so the whole chain of causes
    is searched for it.
    """
    seen: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop(0)
        if each in seen:
            continue
        seen.append(each)
        if isinstance(each, OSError) and each.errno in REMEDIES:
            where = f"{each.filename}: " if each.filename else ""
            return f"{where}{REMEDIES[each.errno]}, then start again: what was finished is kept"
        waiting += [other for other in (each.__cause__, each.__context__) if other is not None]
    return None


def tell_disk_faults_once() -> None:
    """Keep asyncio from logging further write errors in addition to the one that is raised and reported.

    Zarr writes chunks concurrently and raises the first error; asyncio logs the others, with tracebacks, when it
    discards their tasks. Errors that do not come from the disk are still logged.
    """
    logging.getLogger("asyncio").addFilter(_is_no_disk_fault)


def _is_no_disk_fault(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return error is None or storage_fault(error) is None
