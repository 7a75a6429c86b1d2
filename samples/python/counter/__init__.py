"""A visit counter: each page has its own number, kept in the Redis server that runs beside it."""

import os

from flask import Flask, jsonify, render_template
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import ConnectionError as NotConnected
from redis.retry import Retry

VISITS = "visits"  # a sorted set: page -> number of visits


def create_app(redis: Redis | None = None) -> Flask:
    """The WSGI application; REDIS_URL and GREETING are read from the environment."""
    app = Flask(__name__)
    greeting = os.environ.get("GREETING", "Hello")
    # Redis starts at the same time as we do, and loads what it saved first.
    patience = Retry(ConstantBackoff(0.1), retries=50)
    redis = redis or Redis.from_url(
        os.environ.get("REDIS_URL", "redis://127.0.0.1:6379"), decode_responses=True, retry=patience
    )

    @app.get("/", defaults={"page": "home"})
    @app.get("/pages/<page>")
    def visit(page: str) -> str:
        count = int(redis.zincrby(VISITS, 1, page))
        return render_template("page.html", greeting=greeting, page=page, count=count)

    @app.get("/api/visits")
    def visits():
        return jsonify({page: int(count) for page, count in redis.zrevrange(VISITS, 0, 99, withscores=True)})

    @app.get("/healthz")
    def health():
        redis.ping()
        return jsonify(status="ok")

    @app.errorhandler(NotConnected)
    def no_redis(error: NotConnected):
        return jsonify(status="redis does not answer", error=str(error)), 503

    return app
