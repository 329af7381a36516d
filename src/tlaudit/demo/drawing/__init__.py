"""Draws the pictures of the embedded world, each from its own seed, with numpy and Pillow alone."""

from tlaudit.demo.drawing.scenes import TargetPicture, draw_source, draw_target, painter_of

__all__ = ["TargetPicture", "draw_source", "draw_target", "painter_of"]
