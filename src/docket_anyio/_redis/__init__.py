"""A Redis client on AnyIO."""
