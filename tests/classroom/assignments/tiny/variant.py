"""The slope."""


def constants(rng):
    """One number."""
    return {"slope": int(rng.integers(2, 1000))}
