"""Ony: a hold and a phone call before the irreversible."""

__version__ = "0.2.0"
