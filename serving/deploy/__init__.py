"""Files of a production bundle, one module for each target: makes texts from a `BundleSpec` and writes no files."""
