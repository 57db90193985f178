"""Leaves and ultrapeers: which of them can answer a query.  Pure."""
