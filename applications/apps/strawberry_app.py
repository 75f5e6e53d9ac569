"""GraphQL by strawberry on FastAPI: a query, a mutation with a file, subscriptions. ENDED is a file."""

import asyncio
import os
from collections.abc import AsyncGenerator

import strawberry
from fastapi import FastAPI
from strawberry.fastapi import GraphQLRouter


@strawberry.type
class Query:
    @strawberry.field
    async def squares(self, below: int) -> list[int]:
        return [number * number for number in range(below)]

    @strawberry.field
    def fails(self) -> int:
        raise ValueError("there is no such number")


@strawberry.type
class Mutation:
    @strawberry.mutation
    async def add(self, one: int, other: int) -> int:
        return one + other


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, target: int) -> AsyncGenerator[int, None]:
        try:
            for number in range(target):
                yield number
                await asyncio.sleep(0.002)
        finally:
            with open(os.environ["ENDED"], "a") as file:
                file.write(f"{target}\n")


application = FastAPI()
application.include_router(GraphQLRouter(strawberry.Schema(Query, Mutation, Subscription)), prefix="/graphql")
