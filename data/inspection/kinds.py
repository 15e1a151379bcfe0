"""The kinds of findings: how bad, and what they mean for training. Imports nothing, so that `--help` can name them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """Kind of a finding: severity, title, and what it means for training."""

    severity: str  # "error", "warning" or "note"
    title: str
    meaning: str


KINDS = {
    "unreadable": Kind("error", "Unreadable", "Damaged, or no picture at all. Training leaves these out and goes on."),
    "leakage": Kind(
        "error",
        "Copies across splits",
        "The same picture is trained on and measured with, so what is measured is too good. Drop the training copies.",
    ),
    "label_conflict": Kind("error", "Copies in different classes", "At least one of each group has the wrong class."),
    "exact_duplicate": Kind("error", "Exact copies", "The same file under several names counts more than once."),
    "near_duplicate": Kind(
        "warning",
        "Near copies",
        "One picture resized, compressed, cropped or lit otherwise. The largest, listed first, is worth keeping.",
    ),
    "tiny": Kind("warning", "Tiny", "Too small to be trained on without being enlarged."),
    "blurry": Kind("warning", "Blurry", "Out of focus, shaken, or enlarged from a smaller picture."),
    "dark": Kind("warning", "Dark", "Even the brightest parts are dim."),
    "overexposed": Kind("warning", "Overexposed", "Parts are burnt: the form and colour are lost there."),
    "low_contrast": Kind("warning", "Low contrast", "Flat or foggy: hardly any difference between dark and light."),
    "odd_shape": Kind("warning", "Long and narrow", "Cut to a square, most of it is lost. `--fit pad` keeps it whole."),
    "background": Kind(
        "warning", "Another background", "Unlike most of the catalogue: a model learns to mix the two kinds."
    ),
    "overlay": Kind(
        "warning",
        "Text or mark laid over",
        "A caption, date stamp or watermark, which a model learns to draw. Found by its shape, not by reading it.",
    ),
    "stray": Kind("warning", "Beside the class folders", "Without a class, so training leaves these out."),
    "missing_class": Kind("warning", "Class missing from a split", "It cannot be measured, or was never learnt."),
    "rare_class": Kind("warning", "Rare class", "Too few pictures to learn the class from."),
    "imbalance": Kind("warning", "Uneven classes", "Without `--conditional` the common classes crowd out the rare."),
    "colour_variant": Kind(
        "note",
        "Colour variants",
        "The same shot of one product in several colours. All are kept: any two of a group are a pair to train recolouring with.",
    ),
    "lettering": Kind(
        "note", "Lettering in the picture", "Most often a print on the product; sometimes a banner laid over it."
    ),
    "turned": Kind("note", "Turned by EXIF", "Stored on its side or head. packshot turns it upright."),
    "cmyk": Kind("note", "CMYK", "Meant for print. packshot converts it; colours may shift a little."),
    "deep": Kind("note", "More than 8 bits a channel", "packshot scales it to 8 bits."),
    "palette": Kind("note", "Palette", "At most 256 colours; photos show bands. packshot converts it."),
    "transparent": Kind("note", "Transparent", "packshot lays it over white."),
    "profile": Kind("note", "Colour profile", "Not sRGB, often of a wider gamut. packshot converts it."),
    "colourless": Kind("note", "Without colour", "Grey in a catalogue of colour pictures."),
    "animated": Kind("note", "Animated", "packshot takes the first frame."),
    "not_a_picture": Kind("note", "Other files", "Their extension is no picture's; training does not look at them."),
}

# A cleaned list leaves out what is useless, and all copies but one. If asked, it leaves out what is droppable, and all variants but one.
# The other kinds concern no picture in it.
VARIANTS = ("colour_variant",)
COPIES = ("leakage", "exact_duplicate", "near_duplicate")
USELESS = ("unreadable", "stray")
_OF_NO_PICTURE = ("missing_class", "rare_class", "imbalance", "not_a_picture")
DROPPABLE = tuple(kind for kind in KINDS if kind not in (*COPIES, *USELESS, *_OF_NO_PICTURE))
