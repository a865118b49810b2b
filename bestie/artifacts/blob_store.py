"""A `BlobFolder` as a store that zarr reads from; only the requested parts of shards are read."""

import io
from collections.abc import AsyncIterator, Iterable

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

from bestie.artifacts.blobs import Blob, BlobFolder


class BlobStore(Store):
    """A read-only store whose keys are the paths of the folder's files."""

    supports_writes: bool = False
    supports_deletes: bool = False
    supports_listing: bool = True

    def __init__(self, folder: BlobFolder) -> None:
        super().__init__(read_only=True)
        self._folder = folder

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BlobStore) and self._folder == other._folder

    def __str__(self) -> str:
        return str(self._folder)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Return the bytes of a file, or a range of them; None if there is no such file."""
        blob = self._folder.files.get(key)
        return None if blob is None else prototype.buffer.from_bytes(_read(blob, byte_range))

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Return the result of `get` for each key and range."""
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def exists(self, key: str) -> bool:
        """Return whether the folder has such a file."""
        return key in self._folder.files

    async def set(self, key: str, value: Buffer) -> None:
        """Refused."""
        raise NotImplementedError(f"{self} cannot be written to")

    async def delete(self, key: str) -> None:
        """Refused."""
        raise NotImplementedError(f"{self} cannot be written to")

    async def list(self) -> AsyncIterator[str]:
        """Yield all keys."""
        for key in self._folder.files:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with `prefix`."""
        for key in self._folder.files:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Yield the names directly below the folder `prefix`."""
        start = f"{prefix.rstrip('/')}/" if prefix else ""
        below = (key.removeprefix(start) for key in self._folder.files if key.startswith(start))
        for name in dict.fromkeys(key.split("/")[0] for key in below):
            yield name


def _read(blob: Blob, byte_range: ByteRequest | None) -> bytes:
    with blob.open() as file:
        match byte_range:
            case RangeByteRequest(start, end):
                file.seek(start)
                return file.read(end - start)
            case OffsetByteRequest(offset):
                file.seek(offset)
            case SuffixByteRequest(suffix):
                size = file.seek(0, io.SEEK_END)
                file.seek(max(0, size - suffix))
        return file.read()
