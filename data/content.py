"""Names the format of bytes, for the sentence that says why they are not a picture."""

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG picture"),
    (b"\x89PNG", "PNG picture"),
    (b"GIF8", "GIF picture"),
    (b"BM", "BMP picture"),
    (b"II*\0", "TIFF picture"),
    (b"MM\0*", "TIFF picture"),
    (b"8BPS", "Photoshop document"),
    (b"%PDF", "PDF document"),
    (b"PK\x03\x04", "ZIP archive"),
    (b"\x1f\x8b", "gzip archive"),
    (b"Rar!", "RAR archive"),
    (b"\x1a\x45\xdf\xa3", "Matroska or WebM video"),
    (b"version https://git-lfs", "Git LFS pointer, not the file itself"),
)
_BRANDS = {b"heic": "HEIC picture", b"heix": "HEIC picture", b"mif1": "HEIF picture", b"avif": "AVIF picture"}


def describe(content: bytes) -> str:
    """Name the kind of file by its first bytes, such as "PDF document"; never raises."""
    for signature, name in _SIGNATURES:
        if content.startswith(signature):
            return name
    if content[:4] == b"RIFF":
        return "WebP picture" if content[8:12] == b"WEBP" else "RIFF file"
    if content[4:8] == b"ftyp":
        return _BRANDS.get(content[8:12], "MP4 or QuickTime video")
    start = content[:256].lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "web page"
    if b"<svg" in start:
        return "SVG drawing"
    if _is_text(content[:256]):
        return "text"
    return f"unknown bytes beginning {content[:4].hex(' ')}"


def _is_text(start):
    # A cut may fall inside a character of several bytes, so undecodable bytes at the very end are ignored.
    text = start.decode("utf-8", errors="ignore")
    return len(text.encode()) > len(start) - 4 and all(letter.isprintable() or letter.isspace() for letter in text)
