"""What broker, workers and nodes are driven by: sockets, threads and processes live here and nowhere else."""
