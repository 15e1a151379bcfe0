"""Runs on disk and in memory: configuration, folder, checkpoints, history, exports."""
