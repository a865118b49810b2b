"""A stage as a process: settings, progress, signals, full disks, devices, several processes, warnings."""
