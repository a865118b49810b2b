"""Prediction with trained models: images to maps, maps to instances, instances to rows of a table."""
