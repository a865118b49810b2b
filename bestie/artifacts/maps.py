"""Dense maps in Zarr: row i of each array belongs to row i of `images.parquet`, padded to the data set's canvas."""

import math
import operator
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import zarr
from zarr.codecs import ZstdCodec
from zarr.errors import ZarrUserWarning
from zarr.storage import LocalStore

from bestie.artifacts.atomic import atomic_output
from bestie.artifacts.blob_store import BlobStore
from bestie.artifacts.blobs import BlobFolder, missing
from bestie.artifacts.map_layout import MapLayout
from bestie.errors import InputError

SHARD_ROWS = 512
#: Images that are written at once, if their maps take no more than so many bytes: what a writer holds in memory.
ROWS_AT_ONCE, BYTES_AT_ONCE = 64, 64 * 2**20
KEEP_BYTES = 64 * 2**20
#: Values of one image; 254 channels of the largest image are fewer.
MAX_CHUNK_VALUES = 2**31


class MapSpec(NamedTuple):
    """One array: its dtype, the fill value of what is never written, and its channels (None: no channel axis)."""

    dtype: str
    fill: float = 0
    channels: int | None = None


class MapWriter:
    """A context manager that writes a group of map arrays, atomically.

    A tile of an image is one chunk; usually an image is one tile. A shard is one file of 512 chunks; one that holds
    only the fill value takes no file. Up to 64 images of each array wait in memory and are written at once, or fewer,
    if these take more than 64 MiB.

    Args:
        path: the group's folder, usually `*.zarr`.
        arrays: name -> MapSpec, or a tuple (dtype, fill, channels) whose last elements may be omitted.
        n_rows: number of images.
        layout: height and width, in px, that every image fits into; with a `MapLayout`, in tiles.
        attributes: JSON values to store with the group.
    """

    def __init__(
        self,
        path: Path,
        arrays: Mapping[str, tuple],
        n_rows: int,
        layout: tuple[int, int] | MapLayout,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self._path = path
        self._specs = {name: MapSpec(*spec) for name, spec in arrays.items()}
        self._n_rows = n_rows
        self._layout = layout if isinstance(layout, MapLayout) else MapLayout(layout, layout)
        self._attributes = dict(attributes or {})
        self._waiting: dict[str, _Waiting] = {}

    def __enter__(self) -> "MapWriter":
        with ExitStack() as stack:  # a writer that fails to start leaves nothing behind
            partial = stack.enter_context(atomic_output(self._path))
            attributes = {**self._attributes, "canvas_hw": list(self._layout.canvas_hw)}
            group = zarr.create_group(LocalStore(partial), attributes=attributes)
            for name, spec in self._specs.items():
                self._waiting[name] = _Waiting(_create_array(group, name, spec, self._n_rows, self._layout))
            self._stack = stack.pop_all()
        return self

    def write(self, row: int, name: str, array: np.ndarray) -> None:
        """Write the map of one image, of shape [channels,] height, width and at most as large as the canvas.

        The rows of each array must be written in ascending order.

        Raises:
            ValueError: there is no such array, the dtype, shape or row is wrong, or the row is not above the last one.
        """
        if name not in self._specs:
            raise ValueError(f"no map '{name}', only {list(self._specs)}")
        spec = self._specs[name]
        leading = () if spec.channels is None else (spec.channels,)
        height, width = self._layout.canvas_hw
        if array.dtype != np.dtype(spec.dtype):
            raise ValueError(f"the map '{name}' takes {spec.dtype}, not {array.dtype}")
        if array.ndim != len(leading) + 2 or array.shape[:-2] != leading:
            raise ValueError(f"the map '{name}' takes {(*leading, 'height', 'width')}, not {array.shape}")
        if array.shape[-2] > height or array.shape[-1] > width:
            raise ValueError(f"a map of {array.shape[-2:]} does not fit the canvas {self._layout.canvas_hw}")
        if not self._waiting[name].last_row < row < self._n_rows:
            raise ValueError(
                f"row {row} of the map '{name}' is not between the last one, {self._waiting[name].last_row}, "
                f"and the number of rows, {self._n_rows}"
            )
        self._waiting[name].put(row, array)

    def __exit__(self, *exception: Any) -> None:
        if exception[0] is not None:
            self._stack.__exit__(*exception)
            return
        with self._stack:
            for waiting in self._waiting.values():
                waiting.flush()


class MapReader:
    """A reader of maps that `MapWriter` wrote, in a folder on disk or elsewhere.

    It is cheap to create and, for a folder on disk, to pickle: each process opens the files when it first reads.

    Args:
        path: the group's folder.
        keep: whether to hold arrays of at most 64 MiB in memory: a training reads every map in every epoch, and opening
            a chunk costs more than the rest of reading it.

    Raises:
        InputError: the folder does not exist.
    """

    def __init__(self, path: Path | BlobFolder, *, keep: bool = False) -> None:
        if isinstance(path, Path) and not path.is_dir():
            raise missing(path)
        self._path = path
        self._keep = keep
        self._group: Any = None
        self._arrays: dict[str, Any] = {}
        self._pid = -1

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_keep": self._keep, "_group": None, "_arrays": {}, "_pid": -1}

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the arrays, sorted. Raises InputError if the group is damaged."""
        with self._naming_damage(), warnings.catch_warnings():
            warnings.simplefilter("ignore", ZarrUserWarning)  # a file that does not belong to the group
            return tuple(sorted(self._open().array_keys()))

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes that the writer stored, and `canvas_hw`. Raises InputError if the group is damaged."""
        with self._naming_damage():
            return dict(self._open().attrs)

    @property
    def canvas_hw(self) -> tuple[int, int]:
        """Height and width of the canvas in px. Raises InputError if the group is damaged."""
        with self._naming_damage():
            height, width = map(operator.index, self.attributes["canvas_hw"])
        return height, width

    @property
    def layout(self) -> MapLayout:
        """The canvas, and the tiles of the first array. Raises InputError if the group is damaged."""
        name = self.names[0]
        with self._naming_damage():
            height, width = self._open()[name].chunks[-2:]
        return MapLayout(self.canvas_hw, (height, width))

    @property
    def n_rows(self) -> int:
        """The number of images. Raises InputError if the group is damaged."""
        return self._array(self.names[0]).shape[0]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of one array: images, [channels,] height and width of the canvas.

        Raises:
            InputError: there is no such array, or it is damaged.
        """
        return tuple(self._array(name).shape)

    def read(self, row: int, name: str, height: int, width: int) -> np.ndarray:
        """Return the map of one image, [channels,] height, width, with the fill value where nothing was written.

        Raises:
            InputError: there is no such array, files are damaged, or the image is larger than the canvas or beyond the
                last row, because maps and index belong to different runs.
        """
        array = self._array(name)
        if not (0 <= row < array.shape[0] and height <= array.shape[-2] and width <= array.shape[-1]):
            raise InputError(
                f"{self._path}: '{name}' of shape {array.shape} holds no row {row} of {height}x{width} px. "
                "The maps belong to another images.parquet: run the stage that writes them again."
            )
        with self._naming_damage():
            return np.array(array[row, ..., :height, :width])

    def _array(self, name: str) -> Any:
        group = self._open()
        if name not in self._arrays:
            with self._naming_damage():
                if name not in group:
                    raise InputError(f"{self._path} has no map '{name}', only {list(self.names)}.")
                array = group[name]
                self._check(name, array)
                self._arrays[name] = array[...] if self._keep and array.nbytes <= KEEP_BYTES else array
        return self._arrays[name]

    def _check(self, name: str, array: Any) -> None:
        """Refuse arrays that no writer of this package writes, such as floats with NaN."""
        if not isinstance(array, zarr.Array) or array.dtype.kind not in "iu" or array.ndim not in (3, 4):
            raise ValueError(f"'{name}' is no array of whole numbers by image, height and width")
        if math.prod(array.chunks[1:]) > MAX_CHUNK_VALUES:
            raise ValueError(f"'{name}' has chunks of {array.chunks}")

    @contextmanager
    def _naming_damage(self) -> Iterator[None]:
        """Turn any error of zarr in the block into an InputError."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:  # anybody may have written the JSON metadata, and codecs have their own errors
            raise InputError(f"{self._path} is damaged ({error}). Restore it or write it again.") from error

    def _open(self) -> Any:
        if self._pid != os.getpid():  # a forked worker must not use its parent's handles
            path = self._path
            store = LocalStore(path, read_only=True) if isinstance(path, Path) else BlobStore(path)
            try:
                # Only version 3, which is what is written here: version 2 has codecs that unpickle.
                self._group = zarr.open_group(store, mode="r", zarr_format=3)
            except Exception as error:
                raise InputError(f"{self._path} is no Zarr group. Run the stage that writes it again.") from error
            self._arrays, self._pid = {}, os.getpid()
        return self._group


class _Waiting:
    """Maps of an array that wait in memory, until they are enough to write, tile by tile."""

    def __init__(self, array: Any) -> None:
        self.last_row = -1
        self._array = array
        self._rows = rows_at_once(array)
        self._start = 0
        self._maps: dict[int, np.ndarray] = {}

    def put(self, row: int, values: np.ndarray) -> None:
        start = row - row % self._rows
        if start != self._start:
            self.flush()
            self._start = start
        self._maps[row - start] = values.copy()
        self.last_row = row

    def flush(self) -> None:
        if self._maps:
            tile_height, tile_width = self._array.chunks[-2:]
            for top in range(0, max(each.shape[-2] for each in self._maps.values()), tile_height):
                for left in range(0, max(each.shape[-1] for each in self._maps.values()), tile_width):
                    self._write_tile(slice(top, top + tile_height), slice(left, left + tile_width))
        self._maps = {}

    def _write_tile(self, y: slice, x: slice) -> None:
        parts = {row: part for row, each in self._maps.items() if (part := each[..., y, x]).size}
        if not parts:
            return
        # Most tiles of a single large image hold nothing of the other images.
        first, end = (min(parts), min(parts) + 1) if len(parts) == 1 else (0, self._rows)
        n_rows = min(end, self._array.shape[0] - self._start) - first
        inside = (min(at.stop, side) - at.start for at, side in zip((y, x), self._array.shape[-2:], strict=True))
        shape = (n_rows, *self._array.shape[1:-2], *inside)
        tile = np.full(shape, self._array.fill_value, self._array.dtype)
        for row, part in parts.items():
            tile[row - first, ..., : part.shape[-2], : part.shape[-1]] = part
        start = self._start + first
        self._array[start : start + n_rows, ..., y, x] = tile


def rows_at_once(array: Any) -> int:
    """Return how many images of a zarr array are read or written at once: a power of two."""
    fitting = max(1, BYTES_AT_ONCE // (math.prod(array.chunks) * array.dtype.itemsize))
    return min(ROWS_AT_ONCE, 1 << (fitting.bit_length() - 1))


def _create_array(group: Any, name: str, spec: MapSpec, n_rows: int, layout: MapLayout) -> Any:
    leading = () if spec.channels is None else (spec.channels,)
    chunk = (1, *leading, *layout.tile_hw)
    return group.create_array(
        name,
        shape=(n_rows, *leading, *layout.canvas_hw),
        chunks=chunk,
        shards=(SHARD_ROWS, *chunk[1:]),
        dtype=spec.dtype,
        filters=None,
        compressors=ZstdCodec(level=3),
        fill_value=spec.fill,
        dimension_names=("row", *["channel"] * len(leading), "y", "x"),
    )
