"""Every number that decides whether something is reported, each with its reason. Reports show them.

Pictures are judged as training sees them, not at their full size: shrunk until no side is longer than `SIDE`.
"""


class Threshold(float):
    """A number with its unit and its reason."""

    unit: str
    reason: str

    def __new__(cls, value: float, unit: str, reason: str):
        number = super().__new__(cls, value)
        number.unit, number.reason = unit, reason
        return number


SIDE = 512  # px: twice the largest pictures that are trained on

TINY_SIDE = Threshold(128, "px", "a shorter side below this must be enlarged at 128 px, which only blurs")
TINY_SHARE = Threshold(0.5, "of the usual short side", "where all pictures are small, only much smaller ones stand out")
ODD_SHAPE = Threshold(2.0, "long / short side", "cut to a square, more than half of the picture is lost")

SOFT = Threshold(
    0.0, "log odds", "that it is blurred, shaken or enlarged, by its spectrum; 99.7 % of photos stay below"
)

SHARP = Threshold(
    0.60,
    "of an edge's height",
    "risen within 2 px by its sharpest tenth, in all directions: so a picture of little detail is not blurred; those "
    "blurred or shaken by the least that is found stay below 0.57",
)
DARK = Threshold(0.40, "of white", "the brightest channel of 19 pixels in 20 stays below this")
BURNT = Threshold(
    0.19,
    "of the picture",
    "at its limit, and half of where only one channel is; more where the middle is light, less against the light; "
    "98.9 % of street photos and 99.7 % of others stay below",
)
CUT = Threshold(0.13, "of the picture", "on a plain ground: two channels at their limit; vivid drawings stay below")
LOST = Threshold(
    0.03, "of the product", "on white: two channels cut off and the third not; 99.5 % of products in studios stay below"
)
WHITE_MEANT = Threshold(0.05, "of the pictures", "where fewer have a white background, one that is white is burnt")
FLAT = Threshold(
    0.25,
    "of the range",
    "between the darkest and the lightest hundredth no channel differs by more, and white is not reached",
)

PLAIN = Threshold(0.70, "of the border", "a background is plain when so much of the border has its median colour")
WHITE = Threshold(0.88, "of white", "a plain background is white when its darkest channel is at least so light")
MOSTLY = Threshold(0.60, "of the pictures", "a catalogue has one kind of background when so many pictures share it")

GROUND_SEEN = Threshold(
    0.08, "of the border", "with the colour of the usual ground: a product that reaches the border hides the rest"
)
GROUND_HIDDEN = Threshold(
    0.50, "of what is no usual ground", "with the colour of the middle: a product seen so near that it hides the ground"
)

WRITTEN = Threshold(
    0.5, "of certainty", "a square of 8 px is written on when the network finds it more likely than not"
)
LINE = Threshold(6.0, "squares", "of 8 px that a line of writing covers at the least, each as far as it is sure")
LINE_SURE = Threshold(
    0.75,
    "of certainty",
    "the mean over a line; fabrics and carpets stay below, of what is written over photos 99 % is above",
)
LINE_LONG = Threshold(
    3.0, "times as long as high", "a line near the border that is less is a shoe or a sign, and taken for a print"
)
MARGIN = Threshold(0.15, "of the side", "lettering so near the border is taken for an overlay, elsewhere for a print")

REPEATED_ENERGY = Threshold(
    4.0, "times", "detail that all pictures share by chance stays below this; see Dekel et al., CVPR 2017"
)
REPEATED_LIKE = Threshold(0.15, "correlation", "pictures without the mark stay below 0.13, with it 98 % are above")
REPEATED_TOGETHER = Threshold(
    0.125,
    "correlation",
    "with several parts of a mark, the sum over the root of their number; without it they stay below 0.12",
)
REPEATED_SURE = Threshold(
    0.50, "correlation", "a tenth of the pictures with the mark reach this; similar outlines of products do not"
)

REPEATED_PLACED = Threshold(
    0.16, "correlation", "with a mark found in pictures of another shape, at the best of several places and sizes"
)

LAYOUT_ALIKE = Threshold(0.85, "correlation", "of 8x8 colours: 99 % of copies cropped by up to 8 % a side are above")
TANGENT_ALIKE = Threshold(
    0.80, "explained variance", "of 16x16 colours after a small shift, stretch and exposure; copies have more"
)
DETAIL_ALIKE = Threshold(
    0.86, "correlation", "of fine detail at 64x64 once aligned: of 5,000 similar pictures none was above 0.84"
)
COLOUR_APART = Threshold(
    16, "grey levels", "by which aligned pictures differ in 2 % of their area: 99 % of copies stay below"
)
PART_APART = Threshold(
    22, "grey levels", "of hue, or twice as many of lightness, in 8 of 64x64 px: seams of another colour are above"
)
OUTLINES_ALIKE = Threshold(0.90, "correlation", "of edges at 16x16: shots of one product in two colours are above")
EDGES_ALIKE = Threshold(0.87, "correlation", "of edges at 64x64: shots of two products stay below 0.85")
UNEXPLAINED = Threshold(
    16,
    "grey levels",
    "in small windows, by which a picture differs from any recolouring of the other; prints differ more",
)

LETTERED = Threshold(
    0.05, "of the pictures", "with writing on so many a model that is trained with mirroring learns mirror writing"
)

RARE_CLASS = Threshold(100, "pictures", "with fewer, a class is copied rather than learnt")
IMBALANCE = Threshold(5, "times", "beyond this the largest class sets the look of what is trained without classes")
NEEDS_ADA = Threshold(50_000, "pictures", "with fewer the critic learns them by heart (Karras et al., 2006.06676)")
FOR_128 = Threshold(1_000, "pictures", "with fewer, 64 px: at 256 px faces scored FID 26 from 1,000 (2006.10738)")
FOR_256 = Threshold(
    10_000, "pictures", "with fewer, 128 px: FID 10 from 5,000 and 8 from 10,000, of 4 from 70,000 (ibid.)"
)

ALL = {name: value for name, value in sorted(vars().items()) if isinstance(value, Threshold)}
