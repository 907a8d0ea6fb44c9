"""How fast dashboards and reports are on a large database, built here as the product would have filled it."""
