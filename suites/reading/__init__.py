"""What probes read from a guest: one round trip in, dataclasses out. Pure parsing, judged elsewhere."""
