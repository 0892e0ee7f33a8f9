"""Programs to read and to run: each is also run by the tests."""
