"""Thirty-two clients while versions are swapped under them: every answer is right, none fails, and memory stays where it was."""

import resource
import shutil
import threading
import time

import numpy as np
import pytest
import served
from served import Stub, damage

CLIENTS, SWAPS, BROKEN_AT = 32, 20, 10


@pytest.mark.slow
@pytest.mark.parametrize("batching", [True, False], ids=["batched", "alone"])
def test_no_request_fails_or_is_wrong_while_versions_change(tmp_path, batching):
    factors = (1, 2)
    saved = [served.save(tmp_path / f"saved-{factor}", factor) for factor in factors]
    base = tmp_path / "toy"
    served.place(saved[0], base, 1)
    flags = {"model_name": "toy", "model_base_path": str(base), "rest_api_port": 0, "enable_batching": batching}
    with served.running(**flags, file_system_poll_wait_seconds=1, num_load_threads=2) as running:
        stop, problems, answered = threading.Event(), [], [0] * CLIENTS

        def client(number):
            stub, random = Stub(running), np.random.default_rng(number)
            while not stop.is_set():
                x = random.normal(size=(1 + number % 3, 2)).astype(np.float32)
                try:
                    request = served.predict_request(x=x)
                    response = stub.Predict(request, timeout=30)
                    version = response.model_spec.version.value
                    expected = (x * factors[(version + 1) % 2]).ravel().tolist()
                    if list(response.outputs["y"].float_val) != expected:
                        problems.append((version, x, response))
                except Exception as error:
                    problems.append(error)
                answered[number] += 1
                time.sleep(0.02)

        clients = [threading.Thread(target=client, args=(number,)) for number in range(CLIENTS)]
        for each in clients:
            each.start()
        stub, used = Stub(running), []
        for swap in range(SWAPS):
            number = swap + 2
            if swap == BROKEN_AT:
                shutil.copytree(saved[0], tmp_path / "broken")
                damage(tmp_path / "broken")
                (tmp_path / "broken").rename(base / "1000000")
                time.sleep(1.5)
                shutil.rmtree(base / "1000000")
            served.place(saved[(number + 1) % 2], base, number)
            end = time.monotonic() + 60
            while (
                stub.Predict(served.predict_request(x=np.ones((1, 2), np.float32))).model_spec.version.value != number
            ):
                assert time.monotonic() < end and not problems, problems[:3]
                time.sleep(0.02)
            used.append(_resident())
        stop.set()
        for each in clients:
            each.join()
    assert not problems, problems[:3]
    assert min(answered) > SWAPS
    first, last = np.median(used[SWAPS // 4 : SWAPS // 2]), np.median(used[-SWAPS // 4 :])
    assert last - first < 40e6, used  # bytes; a version kept would be seen, as would a leak of each request


def _resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
