"""Reading pictures: ours from the cached rows and from a folder, and a PyTorch DataLoader of the same folder.

TensorFlow and PyTorch are imported where they are used, so that no process holds both.
"""

import time
from pathlib import Path

import numpy as np
from PIL import Image

from data.quarantine import Quarantine
from data.sources.folder import Folder
from data.sources.studio import Studio

SIDE = 64  # px, of what is read
BATCH = 64  # pictures
PHOTO = (400, 533)  # px, of the files


def draw(folder, count):
    """Fill a folder with JPEGs of the size of a shop's photos, with a camera's noise."""
    random = np.random.default_rng(0)
    for number, example in enumerate(Studio(count).examples(PHOTO[0])):
        noisy = example["image"] + random.normal(0, 8, example["image"].shape)
        picture = Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).resize(PHOTO)
        picture.save(Path(folder) / f"{number:04d}.jpg", quality=90)


class Cached:
    """Batches of flipped float32 pictures from rows in memory."""

    def __init__(self):
        from data import pipeline
        from data.cache import Rows

        rows = Rows({"image": np.stack([e["image"] for e in Studio(4096).examples(SIDE)])}, (), in_memory=True)
        self.batches = iter(pipeline.dataset(rows, ("image",), batch_size=BATCH, seed=0, augment=("flip",)))

    def rate(self, count) -> float:
        """Pictures a second over `count` batches."""
        begun = time.perf_counter()
        for _ in range(count):
            next(self.batches)
        return count * BATCH / (time.perf_counter() - begun)


class Ours:
    """Our source of a folder, as it is read before training."""

    def __init__(self, folder):
        self.folder = folder

    def rate(self, passes) -> float:
        """Pictures a second over passes of the folder."""
        begun = time.perf_counter()
        count = sum(1 for _ in range(passes) for _ in Folder(self.folder).examples(SIDE, "crop", Quarantine()))
        return count / (time.perf_counter() - begun)


class Loader:
    """A DataLoader with two workers which decode with Pillow's draft mode; they stay alive between passes."""

    def __init__(self, folder):
        from torch.utils.data import DataLoader

        self.names = sorted(Path(folder).iterdir())
        self.batches = DataLoader(self, BATCH, num_workers=2, persistent_workers=True, collate_fn=np.stack)

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        image = Image.open(self.names[index])
        image.draft("RGB", (SIDE, SIDE))
        image = image.convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=box))

    def rate(self, passes) -> float:
        """Pictures a second over passes of the folder."""
        begun = time.perf_counter()
        count = sum(len(batch) for _ in range(passes) for batch in self.batches)
        return count / (time.perf_counter() - begun)
