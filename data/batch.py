"""The three batch shapes: what a pipeline yields and a model may rely on.

Pictures in a batch are float32 NHWC in [-1, 1]; `label` is int32 [batch]; `caption` is a string [batch]; `mask` is float32
[batch, height, width, 1] in [0, 1].
"""

GENERATION, TRANSLATION, ENHANCEMENT = TASKS = ("generation", "translation", "enhancement")

REQUIRED = {
    GENERATION: ("image",),
    TRANSLATION: ("source", "target"),
    ENHANCEMENT: ("low", "high"),
}
OPTIONAL = {
    GENERATION: ("label", "caption", "mask"),
    TRANSLATION: ("label", "caption", "mask"),
    ENHANCEMENT: ("label",),
}
PICTURES = frozenset({"image", "source", "target", "low", "high"})


def check(batch, task: str, conditions=()) -> None:
    """Raise ValueError unless the keys of `batch` (a mapping) are those of `task`, with a sentence that says which are wrong.

    `conditions` are the names of further columns int32 [batch], which must be there; see `data.facts`.
    """
    if task not in TASKS:
        raise ValueError(f"unknown task {task!r}; have: {', '.join(TASKS)}")
    required = (*REQUIRED[task], *conditions)
    missing = [key for key in required if key not in batch]
    surplus = [key for key in batch if key not in (*required, *OPTIONAL[task])]
    if missing or surplus:
        raise ValueError(
            f"a {task} batch has the keys {', '.join(required)} and may have {', '.join(OPTIONAL[task])};"
            f" missing: {', '.join(missing) or 'none'}; not known: {', '.join(surplus) or 'none'}"
        )
