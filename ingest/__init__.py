"""The write side of Lectern: files in, a searchable store out."""
