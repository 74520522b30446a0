"""Starts the app: `python app.py`. A Hugging Face Space runs this file."""

from dsum_demo.settings import Settings
from dsum_demo.ui.build import serve

if __name__ == "__main__":
    serve(Settings.from_environment())
