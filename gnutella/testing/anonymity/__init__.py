"""Attacks on the relay layer, run against its production objects in virtual time (docs/anonymity.md)."""
