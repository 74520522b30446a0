"""The page: the only importer of gradio. One tab a module; what a tab shows is computed below."""
