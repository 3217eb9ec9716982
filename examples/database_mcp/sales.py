"""The tables of the sample shop and their rows: the same ones every time."""

import random
import sqlite3
from collections.abc import Iterator
from datetime import date, timedelta

from examples.products import PRODUCTS

CUSTOMER_COUNT = 400
ORDER_COUNT = 4_000

_SCHEMA = """
CREATE TABLE customers (
    customer_id INTEGER PRIMARY KEY,
    name        TEXT NOT NULL,
    email       TEXT NOT NULL UNIQUE,
    country     TEXT NOT NULL,
    joined_on   TEXT NOT NULL  -- YYYY-MM-DD
);
CREATE TABLE products (
    product_id  INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    category    TEXT NOT NULL,
    unit_price  REAL NOT NULL  -- euros
);
CREATE TABLE orders (
    order_id     INTEGER PRIMARY KEY,
    customer_id  INTEGER NOT NULL REFERENCES customers (customer_id),
    product_id   INTEGER NOT NULL REFERENCES products (product_id),
    quantity     INTEGER NOT NULL,
    total_amount REAL NOT NULL,  -- euros, after the discount
    status       TEXT NOT NULL,  -- paid, shipped or delivered
    ordered_on   TEXT NOT NULL   -- YYYY-MM-DD
);
CREATE INDEX orders_by_customer ON orders (customer_id);
CREATE INDEX orders_by_product ON orders (product_id);
CREATE INDEX orders_by_date ON orders (ordered_on);
"""

_FIRST_NAMES = ("Ada", "Bruno", "Chloe", "Dmitri", "Elif", "Farah", "Goran", "Hana", "Ivo", "Jun", "Kofi", "Lena")
_LAST_NAMES = ("Adler", "Bianchi", "Costa", "Dubois", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Jansen", "Kaya")
_COUNTRIES = ("Austria", "Brazil", "Canada", "France", "Germany", "India", "Japan", "Kenya", "Poland", "Spain")
_FIRST_DAY = date(2024, 1, 1)
_DAYS = 900
_DAYS_UNTIL_SHIPPED, _DAYS_UNTIL_DELIVERED = 3, 10

_CustomerRow = tuple[int, str, str, str, str]
_OrderRow = tuple[int, int, int, int, float, str, str]


def write_sales(connection: sqlite3.Connection) -> None:
    """Write the tables and all rows into an empty database, and commit."""
    connection.executescript(_SCHEMA)
    source = random.Random(20_260_728)  # noqa: S311 - sample rows, no secrets
    with connection:
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?)", _customers(source))
        connection.executemany(
            "INSERT INTO products VALUES (?, ?, ?, ?)",
            ((product.product_id, product.name, product.category, product.price_cents / 100) for product in PRODUCTS),
        )
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)", _orders(source))


def _customers(source: random.Random) -> Iterator[_CustomerRow]:
    for customer_id in range(1, CUSTOMER_COUNT + 1):
        first, last = source.choice(_FIRST_NAMES), source.choice(_LAST_NAMES)
        email = f"{first}.{last}.{customer_id}@example.com".lower()
        joined_on = _FIRST_DAY - timedelta(days=source.randrange(365))
        yield customer_id, f"{first} {last}", email, source.choice(_COUNTRIES), joined_on.isoformat()


def _orders(source: random.Random) -> Iterator[_OrderRow]:
    for order_id, day in enumerate(sorted(source.randrange(_DAYS) for _ in range(ORDER_COUNT)), start=1):
        # The smaller of two draws: the first products and customers buy and sell most, as in a real shop.
        product = PRODUCTS[min(source.randrange(len(PRODUCTS)), source.randrange(len(PRODUCTS)))]
        customer_id = 1 + min(source.randrange(CUSTOMER_COUNT), source.randrange(CUSTOMER_COUNT))
        quantity = source.choice((1, 1, 1, 2, 2, 3, 5))
        discount_percent = source.choice((0, 0, 0, 5, 10))
        total_cents = product.price_cents * quantity * (100 - discount_percent) // 100
        ordered_on = (_FIRST_DAY + timedelta(days=day)).isoformat()
        yield order_id, customer_id, product.product_id, quantity, total_cents / 100, _status(day), ordered_on


def _status(day: int) -> str:
    age_days = _DAYS - day
    if age_days <= _DAYS_UNTIL_SHIPPED:
        return "paid"
    return "shipped" if age_days <= _DAYS_UNTIL_DELIVERED else "delivered"
