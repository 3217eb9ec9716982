"""Which SQL expression a business term means in the sales database."""

from typing import NamedTuple

from examples.product_metadata_mcp.vocabulary import Vocabulary


class ColumnMapping(NamedTuple):
    """A term, its expression, the table to select it from, and what it means."""

    term: str
    expression: str
    table: str
    meaning: str


COLUMN_MAPPINGS: tuple[ColumnMapping, ...] = (
    ColumnMapping("total revenue", "SUM(orders.total_amount)", "orders", "What customers paid, in euros."),
    ColumnMapping("average order value", "AVG(orders.total_amount)", "orders", "Euros for one order."),
    ColumnMapping("largest order", "MAX(orders.total_amount)", "orders", "Euros for the most expensive order."),
    ColumnMapping("number of orders", "COUNT(orders.order_id)", "orders", "How many orders there are."),
    ColumnMapping("units sold", "SUM(orders.quantity)", "orders", "How many pieces were sold."),
    ColumnMapping("active customers", "COUNT(DISTINCT orders.customer_id)", "orders", "Customers with an order."),
    ColumnMapping("order month", "strftime('%Y-%m', orders.ordered_on)", "orders", "The month, such as 2026-05."),
    ColumnMapping("order year", "strftime('%Y', orders.ordered_on)", "orders", "The year, such as 2026."),
    ColumnMapping("number of customers", "COUNT(customers.customer_id)", "customers", "How many customers there are."),
    ColumnMapping("market", "customers.country", "customers", "The country a customer lives in."),
    ColumnMapping("product line", "products.category", "products", "The category of a product."),
    ColumnMapping("list price", "products.unit_price", "products", "Euros for one piece, before discounts."),
)
COLUMN_WORDS = Vocabulary({mapping.term: mapping for mapping in COLUMN_MAPPINGS})
