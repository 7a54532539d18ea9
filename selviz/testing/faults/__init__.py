"""Kill commands, fill disks, damage files, check the store: `python -m selviz.testing.faults --short`."""
