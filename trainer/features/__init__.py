"""The networks of `models.features` behind a NumPy interface, as the measures take them; and how packshot's own was made."""
