"""The probes, one folder an area, written against the fixtures only."""
