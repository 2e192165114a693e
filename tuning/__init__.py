"""Fitting small models to reading course materials: `python -m rag tune`. docs/tuning.md tells how."""
