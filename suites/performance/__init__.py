"""Performance: numbers, recorded as metrics; verdicts on them are passed elsewhere."""
