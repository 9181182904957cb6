"""Suites of measurements that write JSON lines, for ``benchmarks.report`` and the tables of the documents."""
