"""Ranges, planning, verification, and the lifetimes of downloads, uploads and pushes.  Pure."""
