"""Drive the machines of broker and workers with sockets, threads and processes; supervise the processes of a node."""
