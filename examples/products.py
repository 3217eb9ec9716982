"""The catalogue of the sample shop: the one home of product ids and names."""

from typing import NamedTuple


class Product(NamedTuple):
    """One product; the price is in cents."""

    product_id: int
    name: str
    category: str
    price_cents: int


PRODUCTS: tuple[Product, ...] = (
    Product(1, "Magic Wand Pro", "Props", 8_900),
    Product(2, "Magic Wand Mini", "Props", 3_450),
    Product(3, "Top Hat Deluxe", "Props", 12_500),
    Product(4, "Endless Scarf", "Props", 1_995),
    Product(5, "Linking Rings Set", "Props", 4_600),
    Product(6, "Levitation Kit", "Props", 23_900),
    Product(7, "Marked Deck Classic", "Cards", 1_450),
    Product(8, "Marked Deck Gold", "Cards", 2_995),
    Product(9, "Close-Up Mat", "Cards", 2_250),
    Product(10, "Card Shoe", "Cards", 5_400),
    Product(11, "Crystal Ball Studio", "Divination", 7_800),
    Product(12, "Tarot Deck Midnight", "Divination", 3_200),
    Product(13, "Pendulum Brass", "Divination", 1_850),
    Product(14, "Rune Stones", "Divination", 2_700),
    Product(15, "Velvet Cloak", "Wardrobe", 14_900),
    Product(16, "White Gloves", "Wardrobe", 990),
    Product(17, "Tailcoat Stage", "Wardrobe", 28_900),
    Product(18, "Smoke Machine Compact", "Stage", 17_500),
    Product(19, "Flash Paper Pack", "Stage", 850),
    Product(20, "Vanishing Cabinet", "Stage", 149_000),
    Product(21, "Dove Box", "Stage", 9_900),
    Product(22, "Beginner Magic Box", "Kits", 4_950),
    Product(23, "Apprentice Magic Box", "Kits", 8_450),
    Product(24, "Master Magic Box", "Kits", 19_900),
)
