"""The lab: whole networks of the production rooms in virtual time, measured and checked while they run."""
