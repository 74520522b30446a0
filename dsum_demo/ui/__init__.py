"""The Gradio app, the only package that imports gradio. Each tab has its own package or module, and event handlers take
what they need from `services.Services`.
"""

__all__ = ["app", "evaluate", "review"]
