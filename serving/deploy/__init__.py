"""The files of a production bundle, one module a target: each makes texts from a plan and touches no disk."""
