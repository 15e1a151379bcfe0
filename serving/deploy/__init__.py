"""The files of a production bundle, one module a target: each makes texts from a `BundleSpec` and touches no disk."""
