"""Starts the app: `python app.py`. A Hugging Face Space runs this file."""

from dsum_demo.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["serve"]))
