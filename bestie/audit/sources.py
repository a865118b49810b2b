"""The artifacts of a version, read where they are stored: in the workspace, in DVC's cache or in a remote.

Nothing is checked out: files are found by their hashes in the version's `dvc.lock`.
"""

from difflib import get_close_matches
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from bestie.artifacts.blobs import Blob, BlobFolder
from bestie.artifacts.image_index import ImageIndex, read_images
from bestie.artifacts.paths import GENERATED_ROOT, folder
from bestie.artifacts.schemas import ORIGINS
from bestie.artifacts.tables import iter_rows, read_categories
from bestie.audit.hashing import FOLDER_SUFFIX
from bestie.audit.objects import Objects
from bestie.audit.versions import Version
from bestie.datasets.image_reading import read_image
from bestie.errors import InputError
from bestie.records import Category, ImageRecord

IMAGES = str(folder("prepare") / "images.parquet")
CATEGORIES = str(folder("prepare") / "categories.parquet")
GROUND_TRUTH = str(folder("prepare") / "ground_truth.parquet")
CUES = str(folder("extract_cues") / "cues.parquet")
ACTIVATIONS = str(folder("extract_cues") / "activations.zarr")
WSSS_MAPS = str(folder("import_wsss") / "maps.zarr")
WSSS_SUMMARY = str(folder("import_wsss") / "summary.parquet")
PSEUDO_MAPS = str(folder("make_pseudo_labels") / "maps.zarr")
COMPONENTS = str(folder("make_pseudo_labels") / "components.parquet")
EXPORT_ORIGINS = str(folder("export_mrcnn") / "origins.parquet")
EVOLUTION = str(folder("train_bestie") / "evolution.parquet")
CLASSIFIER = str(folder("train_pam") / "classifier.zarr")
NETWORK = str(folder("train_bestie") / "network.zarr")


def instances_of(stage: str) -> str:
    """Return the path of the instance table that a label stage writes."""
    return str(folder(stage) / "instances.parquet")


def corrected_labels(artifacts: "Artifacts") -> dict[tuple[int, int], str]:
    """Return who corrected an exported label, by (row, instance_id); nothing for versions that do not record it."""
    if not artifacts.has(EXPORT_ORIGINS):
        return {}
    rows = iter_rows(artifacts.file(EXPORT_ORIGINS), ORIGINS)
    return {(row["row"], row["instance_id"]): row["corrected_by"] for row in rows if row["corrected_by"]}


class Artifacts:
    """The files of one version, by the paths that they have in the workspace.

    Files that were made from other labels are not among them, even if the version's `dvc.lock` lists them.

    Args:
        version: the version.
        root: the folder with `dvc.yaml`.
    """

    def __init__(self, version: Version, root: Path = Path()) -> None:
        self.version = version
        self.hashes = version.files
        self._root = root
        self._objects = Objects(root)
        self._listings: dict[str, dict[str, str]] = {}

    def has(self, path: str) -> bool:
        """Return whether a file or folder belongs to the version."""
        return path in self.hashes

    def file(self, path: str) -> Path | Blob:
        """Return a file for the readers of tables. Raises InputError if the version has no such file."""
        md5 = self._hash(path)
        return self._root / path if self.version.commit is None else self.stored(md5, path)

    def folder(self, path: str) -> Path | BlobFolder:
        """Return a folder for `MapReader`. Raises InputError if the version has no such folder or it is not stored."""
        md5 = self._hash(path)
        if self.version.commit is None:
            return self._root / path
        if not md5.endswith(FOLDER_SUFFIX):
            raise InputError(f"{self.name(path)} is a file, not a folder. {self._remedy}")
        files = {name: self.stored(each, f"{path}/{name}") for name, each in self.listing(path).items()}
        return BlobFolder(self.name(path), files, self._remedy)

    def listing(self, path: str) -> dict[str, str]:
        """Return the hashes of a folder's files by relative path. Raises InputError like `folder`."""
        return self.stored_listing(self._hash(path), path)

    def stored(self, md5: str, path: str) -> Blob:
        """Return the file that DVC stores under a hash, unopened; messages call it by `path`."""
        name = self.name(path)
        return Blob(name, partial(self._objects.open, md5, name=name, remedy=self._missing), self._remedy)

    def stored_listing(self, md5: str, path: str) -> dict[str, str]:
        """Return the hashes of the files, by relative path, of a folder that DVC stores under a hash.

        Raises:
            MissingObjectError: the listing of the folder is not stored.
            InputError: the listing is damaged, or the cache or a remote cannot be read.
        """
        if md5 not in self._listings:
            self._listings[md5] = self._objects.listing(md5, name=self.name(path), remedy=self._missing)
        return self._listings[md5]

    @cached_property
    def images(self) -> ImageIndex:
        """The image index. Raises InputError if it cannot be read."""
        return read_images(self.file(IMAGES))

    @property
    def training_images(self) -> ImageIndex:
        """The training images. Raises InputError if the index cannot be read."""
        return self.images.of_split("train")

    @cached_property
    def categories(self) -> list[Category]:
        """The classes. Raises InputError if their table cannot be read."""
        return read_categories(self.file(CATEGORIES))

    def record(self, image_id: str) -> ImageRecord:
        """Return the index entry of one image. Raises InputError, with similar names, if there is none."""
        for record in self.images:
            if record.image_id == image_id:
                return record
        similar = get_close_matches(image_id, [record.image_id for record in self.images], n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(similar)}?" if similar else "Its column image_id has the names."
        raise InputError(f"{self.name(IMAGES)} has no image '{image_id}'. {hint}")

    def picture(self, record: ImageRecord) -> UInt8[np.ndarray, "h w 3"] | None:
        """Return the image as RGB; None if its file is not available as the index describes it."""
        try:
            return read_image(self._root / self._image_root, record)
        except InputError:
            return self._stored_picture(self._image_root / record.path)

    def name(self, path: str) -> str:
        """Return what messages call a file."""
        return str(self._root / path) if self.version.commit is None else f"{path} of {self.version.revision}"

    @property
    def _image_root(self) -> Path:
        params = self.version.run.params
        return GENERATED_ROOT if params.get("dataset.format") == "shapes" else Path(params.get("dataset.root", "."))

    def _stored_picture(self, path: Path) -> UInt8[np.ndarray, "h w 3"] | None:
        for parent in map(str, path.parents):
            if self.hashes.get(parent, "").endswith(FOLDER_SUFFIX):
                try:
                    md5 = self.listing(parent)[path.relative_to(parent).as_posix()]
                    with self.stored(md5, str(path)).open() as file, Image.open(file) as image:
                        return np.array(image.convert("RGB"))
                except (InputError, KeyError, OSError):
                    continue
        return None

    def _hash(self, path: str) -> str:
        if path not in self.hashes:
            raise InputError(
                f"Version {self.version} has no {path}: the stage that writes it did not run on these labels. "
                f"Make it in a clone at {self.version.revision} with `dvc repro`."
            )
        return self.hashes[path]

    @property
    def _missing(self) -> str:
        revision, stage = self.version.revision, self.version.stage
        return (
            "Run `dvc push` where it was made, or make it again in a clone: "
            f"`git checkout {revision} && dvc repro {stage}`."
        )

    @property
    def _remedy(self) -> str:
        return (
            "It was written by other code than this: look at it with the code of that time, "
            f"in a clone at {self.version.revision}."
        )
