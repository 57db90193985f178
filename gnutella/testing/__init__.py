"""Public fakes, builders and Hypothesis strategies for tests of this project and of its users."""
