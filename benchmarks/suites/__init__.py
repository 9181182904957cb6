"""Suites of measurements that write JSON lines, for ``edge-ad report`` and the tables of the documents."""
