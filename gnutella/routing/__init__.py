"""What to do with a message: answer, forward, or drop with a reason.  Pure."""
