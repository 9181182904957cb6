"""Facts about an image file that its bytes give without decoding: headers, completeness, TIFF tags."""
