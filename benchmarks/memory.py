"""Peak memory of the default run."""

import os
import subprocess
import sys
import tempfile


def peak(images=2000) -> float:
    """GB resident at most in `python -m trainer.task`, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "trainer.task", "--images", str(images), "--job-dir", f"{folder}/run"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with {process.returncode}")
    return usage.ru_maxrss * 1024 / 1e9
