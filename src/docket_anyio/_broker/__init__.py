"""What is remembered, in Redis: each method one atomic transition."""
