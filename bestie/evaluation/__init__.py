"""Evaluation of instances: scores against the truth, kinds of errors, upper bounds, and the contact sheet."""
