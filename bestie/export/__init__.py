"""Instance tables in the formats of other tools: COCO's JSON, VOC's PNG, YOLO's polygons."""
