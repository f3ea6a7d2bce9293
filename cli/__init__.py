"""The `guestcert` command line; the top room, which may use every other."""
