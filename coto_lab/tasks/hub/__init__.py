"""Models and data sets of the hub as tasks; a folder in the hub's formats does as well."""
