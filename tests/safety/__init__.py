"""DagBox under faults: failing disks, crashes at every write, damaged files, dying processes, interrupts."""
