"""All settings, in one file, from the environment (and .env beside manage.py), read once.

Every bad value is reported at once by ``env.seal()``. ``.env.example`` lists each variable.
"""

import sys
from decimal import Decimal
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

import dj_email_url
from csp.constants import NONE, SELF
from django.utils.translation import gettext_lazy as _
from environs import Env, ValidationError, validate

from config.logs import choose_format
from config.paths import BASE_DIR, VAR_DIR, redis_socket

env = Env(eager=False)
env.read_env(str(BASE_DIR / ".env"), recurse=False)


@env.parser_for("networks")
def _networks(text: str) -> list[IPv4Network | IPv6Network]:
    try:
        return [ip_network(part.strip()) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ValidationError(str(error)) from None


@env.parser_for("mail")
def _mail(text: str) -> dict[str, Any]:
    found = dj_email_url.parse(text)
    if not found.get("EMAIL_BACKEND"):
        raise ValidationError("Must be a URL such as submission://user:password@mail.example.com")
    return dict(found)


def _addresses(wanted: list[str]) -> None:
    for address in wanted:
        validate.Email()(address)


def _opentelemetry_is_there(wanted: bool) -> None:
    try:
        there = find_spec("opentelemetry.sdk") and find_spec("opentelemetry.exporter.otlp.proto.http")
    except ModuleNotFoundError:
        there = None
    if wanted and not there:
        raise ValidationError("Its packages are missing: pip install -r requirements-otel.txt")


# --- The site -------------------------------------------------------------------------------

SECRET_KEY = env.str("SECRET_KEY", validate=validate.Length(min=32))
DEBUG = env.bool("DEBUG", False)
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
HTTPS = env.bool("HTTPS", False)

DATABASES: dict[str, dict[str, Any]] = {
    "default": env.dj_db_url("DATABASE_URL", f"sqlite:///{VAR_DIR / 'sluice.sqlite3'}")
}
# Where figures for people to look at are read; what acts reads the database above (see metrics.replica).
if env.str("DATABASE_REPLICA_URL", ""):
    DATABASES["replica"] = env.dj_db_url("DATABASE_REPLICA_URL")
DATABASE_ROUTERS = ["metrics.replica.Router"]
DATABASE_POOL_SIZE = env.int("DATABASE_POOL_SIZE", 10, validate=validate.Range(min=1))
# Whether PostgreSQL keeps the plans of statements that are always the same (see metrics.statements).
DATABASE_PREPARE = env.bool("DATABASE_PREPARE", True)
REDIS_URL = env.str("REDIS_URL", f"unix://{redis_socket()}")
TIME_ZONE = env.str("TIME_ZONE", "UTC")
LOG_LEVEL = env.str("LOG_LEVEL", "INFO")
LOG_FORMAT = env.str("LOG_FORMAT", "auto", validate=validate.OneOf(["auto", "text", "json"]))

# Mail goes through EMAIL_URL; without one, into files that nobody gets.
_email = env.mail("EMAIL_URL", f"file:///{VAR_DIR / 'mail'}")
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.str("DEFAULT_FROM_EMAIL", "sluice@localhost")
# Where people reach the site, for links in mails: https://chat.example.com
SITE_URL = env.str("SITE_URL", "").rstrip("/")
# Who gets the weekly reports, beside the staff of the group "Weekly report".
REPORT_EMAILS: list[str] = env.list("REPORT_EMAILS", [], validate=_addresses)

# --- Ramps ---------------------------------------------------------------------------------

# How often the autopilot looks, and how long a day of a ramp is: minutes for days show a month's ramp in an hour.
AUTOPILOT_SECONDS = env.int("AUTOPILOT_SECONDS", 60, validate=validate.Range(min=1, max=3600))
RAMP_DAY_SECONDS = env.int("RAMP_DAY_SECONDS", 86_400, validate=validate.Range(min=1))

# Notices go to public addresses alone, unless intranet addresses and http are wanted.
NOTICE_ALLOW_PRIVATE = env.bool("NOTICE_ALLOW_PRIVATE", False)

# --- Models and providers -------------------------------------------------------------------

OPENAI_API_KEY = env.str("OPENAI_API_KEY", "")
OPENAI_BASE_URL = env.str("OPENAI_BASE_URL", "") or "https://api.openai.com/v1"
# What the server calls the limit of an answer's length: OpenAI's reasoning models refuse the older name.
OPENAI_MAX_TOKENS_NAME = env.str(
    "OPENAI_MAX_TOKENS_NAME",
    "max_completion_tokens",
    validate=validate.OneOf(["max_completion_tokens", "max_tokens"]),
)
GEMINI_API_KEY = env.str("GEMINI_API_KEY", "")
GEMINI_BASE_URL = env.str("GEMINI_BASE_URL", "") or "https://generativelanguage.googleapis.com"
GEMINI_API_VERSION = env.str("GEMINI_API_VERSION", "v1")

# Deadlines of one attempt, in seconds (FAULTS: the SDKs' own are per read), and the output cap.
CONNECT_TIMEOUT_S = env.float("CONNECT_TIMEOUT_S", 5.0, validate=validate.Range(min=0.05))
FIRST_TOKEN_TIMEOUT_S = env.float("FIRST_TOKEN_TIMEOUT_S", 20.0, validate=validate.Range(min=0.05))
IDLE_TIMEOUT_S = env.float("IDLE_TIMEOUT_S", 20.0, validate=validate.Range(min=0.05))
TOTAL_TIMEOUT_S = env.float("TOTAL_TIMEOUT_S", 180.0, validate=validate.Range(min=0.05))
MAX_OUTPUT_CHARS = env.int("MAX_OUTPUT_CHARS", 100_000, validate=validate.Range(min=1))
MAX_MESSAGE_CHARS = env.int("MAX_MESSAGE_CHARS", 32_000, validate=validate.Range(min=1))

# A breaker opens when so many of the last attempts within the window failed; its cool-down doubles up to the longest.
BREAKER_ATTEMPTS = env.int("BREAKER_ATTEMPTS", 20, validate=validate.Range(min=1, max=1000))
BREAKER_FAILURES = env.int("BREAKER_FAILURES", 10, validate=validate.Range(min=1, max=BREAKER_ATTEMPTS))
BREAKER_WINDOW_S = env.float("BREAKER_WINDOW_S", 60.0, validate=validate.Range(min=0.05))
BREAKER_COOL_DOWN_S = env.float("BREAKER_COOL_DOWN_S", 5.0, validate=validate.Range(min=0.05))
BREAKER_LONGEST_COOL_DOWN_S = env.float(
    "BREAKER_LONGEST_COOL_DOWN_S", 30.0, validate=validate.Range(min=BREAKER_COOL_DOWN_S)
)
# How much one process does at once: attempts at one upstream and how many more wait for a place, and answers in all.
UPSTREAM_PLACES = env.int("UPSTREAM_PLACES", 2_000, validate=validate.Range(min=1))
UPSTREAM_QUEUE = env.int("UPSTREAM_QUEUE", 100, validate=validate.Range(min=0))
MAX_RUNNING_ANSWERS = env.int("MAX_RUNNING_ANSWERS", 3_000, validate=validate.Range(min=1))
# How long a web process that is told to end lets its answers go on, in seconds.
DRAIN_S = env.float("DRAIN_S", 30.0, validate=validate.Range(min=0))

_prices: Any = env.json("MODEL_PRICES", {})

CHAT_PROVIDERS: dict[str, dict[str, Any]] = {
    "openai": {
        "BACKEND": "chat.providers.openai.OpenAIProvider",
        "OPTIONS": {"api_key": OPENAI_API_KEY, "base_url": OPENAI_BASE_URL, "max_tokens_name": OPENAI_MAX_TOKENS_NAME},
    },
    "gemini": {
        "BACKEND": "chat.providers.gemini.GeminiProvider",
        "OPTIONS": {
            "api_key": GEMINI_API_KEY,
            "base_url": GEMINI_BASE_URL,
            "api_version": GEMINI_API_VERSION,
        },
    },
}

# What a person or a client can ask for. "price_provider" is the vendor's id in genai-prices. "first_token_timeout_s"
# and "total_timeout_s" are deadlines of an attempt at that model, the second within the whole answer's.
CHAT_MODELS: dict[str, dict[str, Any]] = {
    "chat-model": {
        "label": _("Chat"),
        "description": _("For everyday questions"),
        "provider": "openai",
        "upstream": env.str("CHAT_MODEL_UPSTREAM", "gpt-5.4"),
    },
    "chat-model-reasoning": {
        "label": _("Chat with reasoning"),
        "description": _("Thinks before it answers"),
        "provider": "openai",
        "upstream": env.str("REASONING_MODEL_UPSTREAM", "gpt-5.5"),
        "first_token_timeout_s": 120.0,
    },
    "gemini-flash-lite": {
        "label": _("Gemini Flash Lite"),
        "description": _("Quick and light"),
        "provider": "gemini",
        "upstream": env.str("GEMINI_FLASH_LITE_UPSTREAM", "gemini-3.1-flash-lite"),
    },
}
# Operator's own prices, USD per million tokens; they win over genai-prices.
MODEL_PRICES: dict[str, dict[str, Decimal]] = {
    key: {part: Decimal(str(usd)) for part, usd in parts.items()} for key, parts in (_prices or {}).items()
}
DEFAULT_CHAT_MODEL = "chat-model"
DEFAULT_ROLLOUT = "gemini-flash-lite"

# Prompt history sent along with a message: the newest messages that fit.
CONTEXT_CHARS = env.int("CONTEXT_CHARS", 60_000, validate=validate.Range(min=1000))
# How long a running answer's event log stays in Redis after its last event, in seconds.
EVENT_LOG_TTL_S = env.int("EVENT_LOG_TTL_S", 3600, validate=validate.Range(min=60))

# How long single calls are kept, in days; the roll-ups keep what they add up to.
CALL_RETENTION_DAYS = env.int("CALL_RETENTION_DAYS", 90, validate=validate.Range(min=2))

# How many requests a minute one account may send to /api/v1/, or one address where nobody is signed in.
API_RATE_LIMIT = env.int("API_RATE_LIMIT", 600, validate=validate.Range(min=1))

# Who may read /metrics: whoever has the token; where there is none, whoever comes from these addresses.
METRICS_TOKEN = env.str("METRICS_TOKEN", "")
METRICS_ALLOWED_ADDRESSES = env.networks("METRICS_ALLOWED_ADDRESSES", "127.0.0.1,::1")
# Spans of answers and calls; where to is said by OpenTelemetry's own variables.
OTEL_TRACES = env.bool("OTEL_TRACES", False, validate=_opentelemetry_is_there)

env.seal()

# --- Django ---------------------------------------------------------------------------------

INSTALLED_APPS = [
    "whitenoise.runserver_nostatic",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "csp",
    "django_htmx",
    "waffle",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "api",
    "metrics",
    "rollout",
    "chat",
    "gateway",
]

MIDDLEWARE = [
    "chat.log_context.log_context_middleware",
    "config.middleware.SecurityMiddleware",
    "config.middleware.CSPMiddleware",
    "config.static_files.StaticFilesMiddleware",
    "config.middleware.SessionMiddleware",
    "config.middleware.LocaleMiddleware",
    "config.middleware.CommonMiddleware",
    "config.middleware.CsrfViewMiddleware",
    "config.middleware.AuthenticationMiddleware",
    "config.middleware.MessageMiddleware",
    "config.middleware.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
# They look for Django's middleware by its very names; these are subclasses.
SILENCED_SYSTEM_CHECKS = ["security.W001", "security.W002", "security.W003"]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

for _alias, _database in DATABASES.items():
    if _database["ENGINE"] == "django.db.backends.sqlite3":
        # WAL lets readers and the writer work side by side; IMMEDIATE makes a writer wait for its
        # turn at BEGIN instead of failing at its first write (FAULTS I06).
        _database["OPTIONS"] = {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
    else:
        _database["OPTIONS"] = {
            **_database.get("OPTIONS", {}),
            # Nobody waits long for the replica: the primary has the same figures.
            "pool": {"min_size": 0, "max_size": DATABASE_POOL_SIZE, "timeout": 3 if _alias == "replica" else 10},
        }

CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "sluice",
        "OPTIONS": {"socket_timeout": 0.5, "socket_connect_timeout": 0.5},
    },
    # A flag is read from its row each time; a cache in between could only delay the kill switch.
    "waffle": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
}

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
AUTH_USER_MODEL = "chat.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"

LANGUAGE_CODE = "en"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# --- Mail -----------------------------------------------------------------------------------

EMAIL_BACKEND = _email["EMAIL_BACKEND"]
EMAIL_FILE_PATH = _email["EMAIL_FILE_PATH"]
EMAIL_HOST = _email["EMAIL_HOST"] or "localhost"
EMAIL_PORT = _email["EMAIL_PORT"] or 25
EMAIL_HOST_USER = _email["EMAIL_HOST_USER"] or ""
EMAIL_HOST_PASSWORD = _email["EMAIL_HOST_PASSWORD"] or ""
EMAIL_USE_TLS = _email["EMAIL_USE_TLS"]
EMAIL_USE_SSL = _email["EMAIL_USE_SSL"]
EMAIL_TIMEOUT = 20

# --- Security -------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    }
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None

# --- Waffle, DRF, Celery --------------------------------------------------------------------

WAFFLE_FLAG_MODEL = "rollout.Rollout"
WAFFLE_CACHE_NAME = "waffle"
WAFFLE_ENABLE_ADMIN_PAGES = False

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "chat.authentication.BearerTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Sluice",
    "DESCRIPTION": "Reads and steers rollouts of a cheaper chat model.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "POSTPROCESSING_HOOKS": ["drf_spectacular.hooks.postprocess_schema_enums", "api.schema.add_conventions"],
    "ENUM_NAME_OVERRIDES": {
        "LatencyMeasure": "rollout.models.LatencyMeasure.choices",
        "CriterionName": "rollout.models.CRITERIA",
        "ArmName": ["candidate", "baseline"],
        "RampMode": "rollout.models.RampMode.choices",
        "RampState": "rollout.models.RampState.choices",
        "Verb": "rollout.ramp.VERBS",
    },
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 5, "socket_connect_timeout": 2}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE = {
    "sweep-abandoned-answers": {"task": "chat.sweep_abandoned", "schedule": 60.0, "options": {"expires": 55}},
    "autopilot": {
        "task": "rollout.autopilot",
        "schedule": float(AUTOPILOT_SECONDS),
        "options": {"expires": AUTOPILOT_SECONDS},
    },
    "roll-up": {"task": "metrics.roll_up", "schedule": 2.0, "options": {"expires": 2}},
    "build-reports": {"task": "rollout.build_reports", "schedule": 600.0, "options": {"expires": 595}},
    "deliver": {"task": "rollout.deliver", "schedule": 5.0, "options": {"expires": 5}},
    "delete-old-deliveries": {
        "task": "rollout.delete_old_deliveries",
        "schedule": 3600.0,
        "options": {"expires": 3500},
    },
    "delete-old-answers": {"task": "api.delete_old_answers", "schedule": 3600.0, "options": {"expires": 3500}},
    "count-people": {"task": "metrics.count_people", "schedule": 60.0, "options": {"expires": 55}},
    "make-partitions": {"task": "metrics.make_partitions", "schedule": 3600.0, "options": {"expires": 3500}},
    "delete-old-calls": {"task": "metrics.delete_old_calls", "schedule": 3600.0, "options": {"expires": 3500}},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"context": {"()": "chat.log_context.LogContext"}},
    "formatters": {"text": {"()": "config.logs.LineFormatter"}, "json": {"()": "config.logs.JsonFormatter"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": choose_format(LOG_FORMAT, terminal=sys.stderr.isatty()),
            "filters": ["context"],
        }
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # The SDKs' transport logs whole URLs at INFO, and httpx2 one line a request.
        "httpx2": {"level": "WARNING"},
        "httpcore2": {"level": "WARNING"},
        "openai": {"level": "WARNING"},
        "google_genai": {"level": "WARNING"},
        "uvicorn": {"level": "WARNING"},
        "django.server": {"handlers": ["stderr"], "propagate": False},
    },
}
