"""Which files are offered and which of them match; the one safe-path function.  Pure, but for scan.py."""
