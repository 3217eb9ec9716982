"""The tools and the resources of the product metadata."""

from collections.abc import Sequence
from typing import Annotated

from mcp.server.caching import CacheHint
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

from examples.product_metadata_mcp.aliases import ALIASES, PRODUCT_WORDS
from examples.product_metadata_mcp.columns import COLUMN_MAPPINGS, COLUMN_WORDS
from examples.products import PRODUCTS

_READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
_UNCHANGING = CacheHint(ttl_ms=300_000, scope="public")


class ResolvedProduct(BaseModel):
    """The product that a nickname means."""

    alias: str = Field(description="The nickname that was asked for.")
    product_id: int = Field(description="Its `products.product_id` in the sales database.")
    name: str = Field(description="Its name in the sales database.")
    category: str = Field(description="Its category in the sales database.")


class ResolvedColumn(BaseModel):
    """The SQL that a business term means."""

    term: str = Field(description="The term that was asked for.")
    expression: str = Field(description="The SQL expression to select.")
    table: str = Field(description="The table to select it from.")
    meaning: str = Field(description="What the figure says, with its unit.")


class ProductAliases(BaseModel):
    """Every nickname of a product."""

    aliases: list[ResolvedProduct]


class ColumnMappings(BaseModel):
    """Every business term."""

    columns: list[ResolvedColumn]


class MetadataSummary(BaseModel):
    """How much is known, and where to read it."""

    product_count: int
    alias_count: int
    column_count: int
    categories: list[str]
    resources: list[str]


def create_server(*, version: str) -> MCPServer:
    """Build the server."""
    server = MCPServer(
        "product_metadata_mcp",
        title="Product metadata",
        instructions="What people's names for products and figures mean in the sales database.",
        version=version,
        log_level="WARNING",
        cache_hints={"tools/list": _UNCHANGING, "resources/list": _UNCHANGING, "resources/read": _UNCHANGING},
        subscriptions=False,
    )
    _add_tools(server)
    _add_resources(server)
    return server


def _add_tools(server: MCPServer) -> None:
    @server.tool(title="Resolve a product", annotations=_READ_ONLY)
    async def resolve_product(
        alias: Annotated[str, Field(description="A nickname or name, such as `abracadabra`.", max_length=200)],
    ) -> ResolvedProduct:
        """Find the product that a nickname means, with its id in the sales database."""
        product = PRODUCT_WORDS.find(alias)
        if product is None:
            raise ToolError(_unknown("product alias", PRODUCT_WORDS.similar(alias)))
        return ResolvedProduct(alias=alias, product_id=product.product_id, name=product.name, category=product.category)

    @server.tool(title="Resolve a column", annotations=_READ_ONLY)
    async def resolve_column(
        term: Annotated[str, Field(description="A business term, such as `total revenue`.", max_length=200)],
    ) -> ResolvedColumn:
        """Find the SQL expression that a business term means in the sales database."""
        mapping = COLUMN_WORDS.find(term)
        if mapping is None:
            raise ToolError(_unknown("business term", COLUMN_WORDS.similar(term)))
        return ResolvedColumn(term=term, expression=mapping.expression, table=mapping.table, meaning=mapping.meaning)


def _add_resources(server: MCPServer) -> None:
    @server.resource("product-aliases://list", title="Product aliases", mime_type="application/json")
    def product_aliases() -> str:
        """Every nickname with the id, name and category of its product."""
        return ProductAliases(
            aliases=[
                ResolvedProduct(
                    alias=alias, product_id=product.product_id, name=product.name, category=product.category
                )
                for alias, product in ALIASES.items()
            ]
        ).model_dump_json()

    @server.resource("column-mappings://list", title="Column mappings", mime_type="application/json")
    def column_mappings() -> str:
        """Every business term with its SQL expression."""
        return ColumnMappings(
            columns=[ResolvedColumn(**mapping._asdict()) for mapping in COLUMN_MAPPINGS]
        ).model_dump_json()

    @server.resource("metadata-summary://info", title="Summary of the metadata", mime_type="application/json")
    def metadata_summary() -> str:
        """How many products, aliases and terms are known, and the resources that list them."""
        return MetadataSummary(
            product_count=len(PRODUCTS),
            alias_count=len(ALIASES),
            column_count=len(COLUMN_MAPPINGS),
            categories=sorted({product.category for product in PRODUCTS}),
            resources=["product-aliases://list", "column-mappings://list"],
        ).model_dump_json()


def _unknown(kind: str, similar: Sequence[str]) -> str:
    if similar:
        return f"Unknown {kind}. Did you mean: {', '.join(similar)}?"
    return f"Unknown {kind}, and none is spelled alike; the resources list all that are known."
