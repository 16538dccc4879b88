"""The worker: a nursery of small services."""
