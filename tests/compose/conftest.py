"""A composer over images in memory."""

import pytest

from .images import Composer


@pytest.fixture
def compose(monkeypatch, tmp_path):
    """Call it with images by name; the workspace is `tmp_path`."""
    return lambda **images: Composer(monkeypatch, tmp_path, **images)
