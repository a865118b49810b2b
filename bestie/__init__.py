"""Instance masks from image-level labels: the method of BESTIE (CVPR 2022) and its building blocks."""
