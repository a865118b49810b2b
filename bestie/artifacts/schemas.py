"""The columns of every table: one schema for all kinds of instances, one for all kinds of points.

`row` is the row of `images.parquet` and of every map array. `category_id` counts from 1 without gaps; `source_id` is
the data set's own number. No column holds nulls, except the measured values of a history and columns that older files
lack.
"""

from collections.abc import Iterable

import pyarrow as pa

Schema = pa.Schema


def _schema(*with_nulls: str, **types: pa.DataType) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable=name in with_nulls) for name, kind in types.items()])


IDS = pa.list_(pa.int32())
BOX_XYWH = pa.list_(pa.float32(), 4)

#: One image; `path` is relative to `dataset.root`, and `labels` are its category ids in ascending order. `source_id` is
#: null if the data set does not number its images; `orientation` is that of EXIF, 1 to 8, where null counts as upright.
IMAGES = _schema(
    *("source_id", "orientation"),
    row=pa.int32(),
    image_id=pa.string(),
    split=pa.string(),
    path=pa.string(),
    height=pa.int32(),
    width=pa.int32(),
    sha256=pa.string(),
    labels=IDS,
    source_id=pa.int64(),
    orientation=pa.int32(),
)

CATEGORIES = _schema(category_id=pa.int32(), name=pa.string(), source_id=pa.int32())

#: An image that `prepare` left out, and what is wrong with it.
SKIPPED = _schema(image=pa.string(), reason=pa.string())

#: Ground truth, pseudo labels, exports and detections; `rle` holds COCO's compressed counts of (height, width).
INSTANCES = _schema(
    image_id=pa.string(),
    row=pa.int32(),
    instance_id=pa.int32(),
    category_id=pa.int32(),
    score=pa.float32(),
    area_px=pa.int32(),
    bbox_xywh=BOX_XYWH,
    center_y=pa.float32(),
    center_x=pa.float32(),
    is_crowd=pa.bool_(),
    rle=pa.string(),
)

#: Where each exported label comes from: `pseudo_id` is the instance_id of a pseudo label, 0 for one of the network;
#: `corrected_by` says who corrected it, "" for an automatic label.
ORIGINS = _schema(
    *("corrected_by",),
    image_id=pa.string(),
    row=pa.int32(),
    instance_id=pa.int32(),
    pseudo_id=pa.int32(),
    corrected_by=pa.string(),
)

#: What a person made of a label: `category`, the name of a class, and `rle` are those of the corrected label, "" if it
#: was removed; `base_category` and `base_rle` those of the label before, "" if there was none. Sizes are in px.
CORRECTIONS = _schema(
    image_id=pa.string(),
    height=pa.int32(),
    width=pa.int32(),
    category=pa.string(),
    rle=pa.string(),
    base_category=pa.string(),
    base_rle=pa.string(),
    by=pa.string(),
)

#: Instances as they change during training; `kind` says which labels a row belongs to.
EVOLUTION = INSTANCES.append(pa.field("epoch", pa.int32(), nullable=False)).append(
    pa.field("kind", pa.string(), nullable=False)
)

#: A point on one object, in px of the original image.
CUES = _schema(
    image_id=pa.string(),
    row=pa.int32(),
    category_id=pa.int32(),
    y=pa.float32(),
    x=pa.float32(),
    score=pa.float32(),
)
POINTS = CUES

#: A connected component of a WSSS map; `instance_id` is 0 unless `status` says that it was accepted.
COMPONENTS = _schema(
    image_id=pa.string(),
    row=pa.int32(),
    component_id=pa.int32(),
    category_id=pa.int32(),
    area_px=pa.int32(),
    bbox_xywh=BOX_XYWH,
    n_cues=pa.int32(),
    status=pa.string(),
    instance_id=pa.int32(),
)

#: An imported WSSS map; entry k of `category_px` counts the pixels of category_id k + 1.
WSSS_SUMMARY = _schema(
    image_id=pa.string(),
    row=pa.int32(),
    category_px=IDS,
    background_px=pa.int32(),
    void_px=pa.int32(),
    sha256=pa.string(),
)


def history_schema(values: Iterable[str]) -> pa.Schema:
    """Return a schema with `epoch` and a float64 column per name in `values`, null if nothing was measured."""
    fields = [pa.field("epoch", pa.int32(), nullable=False)]
    return pa.schema(fields + [pa.field(name, pa.float64()) for name in values])
