"""Grafana dashboards as code: `python -m dashboards` writes dashboards/json. How to add a panel: docs/dashboards.md."""
