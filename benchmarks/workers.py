"""Objects that live in a process of their own and are called through a pipe: while one works the others sleep, and stay warm."""

import importlib
import multiprocessing
import traceback

from data import quiet


class Worker:
    """`maker(*arguments)` in a new process, `maker` being "module:name". Attributes are its methods; close it when done."""

    def __init__(self, maker, *arguments):
        self._pipe, theirs = multiprocessing.get_context("spawn").Pipe()
        self._process = multiprocessing.get_context("spawn").Process(target=_serve, args=(theirs, maker, arguments))
        self._process.start()
        theirs.close()
        self._receive()

    def __getattr__(self, name):
        def call(*arguments):
            self._pipe.send((name, arguments))
            return self._receive()

        return call

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._pipe.close()
        self._process.join()

    def _receive(self):
        try:
            answer, error = self._pipe.recv()
        except EOFError:
            raise RuntimeError("the worker died") from None
        if error:
            raise RuntimeError(error)
        return answer


def _serve(pipe, maker, arguments):
    quiet.start()
    module, _, name = maker.partition(":")
    try:
        worker = getattr(importlib.import_module(module), name)(*arguments)
        pipe.send((None, None))
    except Exception:
        pipe.send((None, traceback.format_exc()))
        return
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((getattr(worker, method)(*arguments), None))
        except Exception:
            pipe.send((None, traceback.format_exc()))
