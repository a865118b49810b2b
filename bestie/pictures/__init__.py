"""Pictures to look at: layers that draw maps and instances on a picture, and sheets of many pictures.

Plain arrays go in, uint8 RGB arrays come out. For crisp lines and letters, first scale the picture and its maps to the
size at which they will be seen (`fit_image`, `fit_map`, `fit_points`), then draw.
"""

from bestie.pictures.color import category_colors, instance_colors, offset_colors, offset_wheel
from bestie.pictures.instance_layers import draw_instances, draw_regions, shared_numbers
from bestie.pictures.layers import draw_activation, draw_centers_offsets, draw_cues, draw_semantic
from bestie.pictures.panels import panel_sheet
from bestie.pictures.scaling import fit_image, fit_map, fit_points
from bestie.pictures.sheet_layout import Page, category_swatches, contact_sheet, save_png, stacked_sheets, swatches

__all__ = [
    "Page",
    "category_colors",
    "category_swatches",
    "contact_sheet",
    "draw_activation",
    "draw_centers_offsets",
    "draw_cues",
    "draw_instances",
    "draw_regions",
    "draw_semantic",
    "fit_image",
    "fit_map",
    "fit_points",
    "instance_colors",
    "offset_colors",
    "offset_wheel",
    "panel_sheet",
    "save_png",
    "shared_numbers",
    "stacked_sheets",
    "swatches",
]
