"""``docket-anyio demo``: a producer and a worker in one process, to watch and to learn from."""
