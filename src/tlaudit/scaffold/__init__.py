"""A first configuration file: what is found of networks and images, written down with what may be changed."""

from tlaudit.scaffold.settings_file import compose, next_steps
from tlaudit.scaffold.surroundings import Surroundings, look_around

__all__ = ["Surroundings", "compose", "look_around", "next_steps"]
