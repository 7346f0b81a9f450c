"""A module for each kind of file, whose `describe` returns what is in one."""
