"""Energy of a measurement: RAPL on x86, tegrastats on a Jetson."""
