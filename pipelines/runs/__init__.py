"""How assets of days, weeks and months are run, checked and partitioned."""
