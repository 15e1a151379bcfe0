"""`python -m benchmarks.denoising`: a denoising model beside scikit-image's non-local means and wavelets at their best settings.

All see the same noise: that of `packshot evaluate` with the recipe `noise:SIGMA`. A classic method has the setting, of a grid, whose mean
PSNR over all pictures is highest, which is more than anybody can choose who does not have the originals.
"""

import itertools

import click
import numpy as np
from skimage.restoration import denoise_nl_means, denoise_wavelet

from data import quiet
from data.catalogue import open_source
from data.corruptions.recipes import parse
from data.quarantine import Quarantine
from serving.export import offline
from trainer.console import progress


def non_local_means(noisy, sigma):
    """{setting: picture in [0, 1]}: Buades et al. 2005, with patches of 5 and 7 px within 21 px."""
    for side, strength in itertools.product((5, 7), (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)):
        settings = {"patch_size": side, "patch_distance": 10, "h": strength * sigma, "sigma": sigma}
        yield f"{side} px, h {strength:g} sigma", denoise_nl_means(noisy, channel_axis=2, fast_mode=True, **settings)


def wavelets(noisy, sigma):
    """{setting: picture in [0, 1]}: BayesShrink (Chang et al. 2000) and VisuShrink (Donoho & Johnstone 1994), averaged over shifts."""
    for method, ycbcr in itertools.product(("BayesShrink", "VisuShrink"), (False, True)):
        for share in (0.25, 0.5, 0.75, 1.0):
            settings = {"method": method, "sigma": share * sigma, "convert2ycbcr": ycbcr, "rescale_sigma": True}
            picture = shifted(noisy, lambda part, settings=settings: denoise_wavelet(part, channel_axis=2, **settings))
            yield f"{method}{' in YCbCr' if ycbcr else ''}, {share:g} sigma", picture


def shifted(noisy, denoise, most=3):
    """The mean over cyclic shifts: Coifman & Donoho 1995, "Translation-invariant de-noising"."""
    results = []
    for shift in itertools.product(range(most), range(most)):
        moved = denoise(np.roll(noisy, shift, (0, 1)))
        results.append(np.roll(moved, [-each for each in shift], (0, 1)))
    return np.mean(results, axis=0)


def psnr(picture, clean):
    levels = np.rint(np.clip(picture, 0, 1) * 255)
    return 10 * np.log10(255**2 / np.mean((levels - clean) ** 2))


@click.command(context_settings={"show_default": True})
@click.option("--data", required=True, help="Clean pictures", metavar="SPEC")
@click.option("--model", required=True, help="Run or export of a denoising model", metavar="PATH")
@click.option("--sigma", default=25, help="Deviation of the noise, grey levels", type=click.IntRange(1, 100))
@click.option("--n", default=100, help="Pictures at most", type=click.IntRange(1))
def main(data, model, sigma, n):
    """Print the mean PSNR over all channels of whole pictures, for each method at its best."""
    quiet.start()
    from trainer.runs.exporting import find_export

    recipe = parse(f"noise:{sigma}", 1)
    examples = itertools.islice(open_source(data).examples(None, "crop", Quarantine()), n)
    clean = [example["image"] for example in examples]
    noisy = [recipe.numpy(picture, 0, number) for number, picture in enumerate(clean)]
    made = list(offline.changed(find_export(model, click.echo), noisy))
    found = {"the noisy picture": {"": [psnr(a / 255, b) for a, b in zip(noisy, clean, strict=True)]}}
    found["the model"] = {"": [psnr(a / 255, b) for a, b in zip(made, clean, strict=True)]}
    for name, method in (("non-local means", non_local_means), ("wavelets", wavelets)):
        found[name] = {}
        for low, high in progress(zip(noisy, clean, strict=True), len(clean), name):
            for setting, picture in method(low / 255, sigma / 255):
                found[name].setdefault(setting, []).append(psnr(picture, high))
    for name, settings in found.items():
        best = max(settings, key=lambda setting: np.mean(settings[setting]))
        click.echo(f"{name:18} {np.mean(settings[best]):6.2f} dB  {best}")


if __name__ == "__main__":
    main()
