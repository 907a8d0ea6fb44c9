"""Draws each dashboard from its own queries: what a reader may expect to see, without a Grafana.

    python -m tests.dashboard_images control-room-en vehicle-en

The data is a simulated fleet's week through the real worker; layout, words, colours and units are those of the JSON.
The drawing is ours: it shows that the panels say something, not how Grafana renders them.
"""
