"""Model families, and the base they stand on."""
