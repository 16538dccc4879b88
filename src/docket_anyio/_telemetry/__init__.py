"""What is seen of a worker."""
