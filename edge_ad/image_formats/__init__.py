"""What the bytes of an image file say before they are decoded."""
