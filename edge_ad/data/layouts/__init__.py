"""How folders of products are arranged: where the good photos, the test photos and the masks are."""
