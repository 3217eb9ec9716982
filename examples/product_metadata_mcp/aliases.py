"""Which product a nickname means."""

from examples.product_metadata_mcp.vocabulary import Vocabulary
from examples.products import PRODUCTS, Product

_PRODUCT_OF_ALIAS = {
    "abracadabra": "Magic Wand Pro",
    "the big wand": "Magic Wand Pro",
    "pocket wand": "Magic Wand Mini",
    "presto": "Top Hat Deluxe",
    "rabbit hat": "Top Hat Deluxe",
    "never-ending scarf": "Endless Scarf",
    "ring trick": "Linking Rings Set",
    "wingardium": "Levitation Kit",
    "float kit": "Levitation Kit",
    "cheater's deck": "Marked Deck Classic",
    "golden deck": "Marked Deck Gold",
    "fortune ball": "Crystal Ball Studio",
    "midnight tarot": "Tarot Deck Midnight",
    "swinger": "Pendulum Brass",
    "dracula": "Velvet Cloak",
    "penguin suit": "Tailcoat Stage",
    "fog box": "Smoke Machine Compact",
    "poof": "Flash Paper Pack",
    "now you see me": "Vanishing Cabinet",
    "hocus pocus": "Beginner Magic Box",
    "open sesame": "Master Magic Box",
}
_BY_NAME = {product.name: product for product in PRODUCTS}

ALIASES: dict[str, Product] = {alias: _BY_NAME[name] for alias, name in _PRODUCT_OF_ALIAS.items()}
"""Nickname, in lower case, to product."""

PRODUCT_WORDS = Vocabulary({**{product.name: product for product in PRODUCTS}, **ALIASES})
"""Nicknames and full names."""
