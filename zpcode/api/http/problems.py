"""Problem documents (RFC 9457), in the reader's language: the response to every error of the API.

    type        /problems/SLUG: stable, and an address that explains it
    title       the kind of problem; the same for every problem of the kind
    status      the HTTP status
    detail      what is wrong with this request, and what to do
    instance    urn:uuid:… of this request, as in the X-Request-Id header and in the log
    errors      the findings, each with reason (stable), detail, value, and its place: `pointer` into the body (RFC 6901),
                or `where`: a query parameter as `?limit`, a header's name, or sheet, row and column
    languages   title and detail in Chinese and in English; each finding has them too

Only this module maps a class of error to a status.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from starlette.requests import HTTPConnection
from starlette.responses import Response

from zpcode.api.http.refusals import FileRemoved, NotReady, TooMany, UnsatisfiableRange
from zpcode.errors import RETRY_SECONDS, Finding, Text, ZpError
from zpcode.language.negotiation import CHINESE, ENGLISH, choose_language, one_line

MEDIA_TYPE: Final = "application/problem+json"


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A kind of problem. `advice` says what the caller can do about it."""

    slug: str
    status: int
    title: Text
    advice: Text

    @property
    def type(self) -> str:
        """The URI reference of the kind."""
        return f"/problems/{self.slug}"


_KINDS = (
    ProblemType("malformed-request", 400, Text("请求体不是有效的 JSON", "The body is not valid JSON"),
         Text("请发送 UTF-8 编码的 JSON，嵌套不要过深，数字不要过长。", "Send JSON in UTF-8, without deep nesting and without very long numbers.")),
    ProblemType("unauthenticated", 401, Text("需要访问密钥", "An API key is needed"),
         Text("在请求头写 Authorization: Bearer zpk_…。密钥由平台运营方发放，只显示一次，可以随时撤销。",
              "Send Authorization: Bearer zpk_…. The operator gives out keys; a key is shown only once and can be revoked at any time.")),
    ProblemType("forbidden", 403, Text("无权执行此操作", "You may not do this"),
         Text("您的密钥有效，但其角色无权执行此操作。", "Your key is valid, but its role does not allow this.")),
    ProblemType("not-found", 404, Text("没有找到", "Not found"),
         Text("该对象不存在，或者不在您的权限范围内；两种情况的应答相同。",
              "The object does not exist, or it is outside your reach. The answer is the same in both cases.")),
    ProblemType("method-not-allowed", 405, Text("不支持此方法", "Method not allowed"),
         Text("响应头 Allow 列出了此地址支持的方法。", "The Allow header lists the methods that this address supports.")),
    ProblemType("conflict", 409, Text("与现有内容冲突", "Conflict with what is on record"),
         Text("例如同一个幂等键用于不同的请求。请按 detail 的说明更正。",
              "For example, one idempotency key was used for two different requests. The detail says what to change.")),
    ProblemType("not-ready", 409, Text("文件尚未生成完毕", "The file is not finished"),
         Text("progress 给出已写入的数量；请按 Retry-After 稍后再下载。", "progress says how many codes are written. Try again after Retry-After seconds.")),
    ProblemType("body-too-large", 413, Text("请求体过大", "The body is too large"),
         Text("JSON 请求最多 64 KiB，登记文件最多 32 MiB。", "JSON requests have at most 64 KiB, registry files at most 32 MiB.")),
    ProblemType("unsupported-media-type", 415, Text("不支持的内容类型", "Unsupported media type"),
         Text("请按 detail 的说明设置 Content-Type，不要压缩。", "Set the Content-Type that the detail names, and do not compress the body.")),
    ProblemType("unsatisfiable-range", 416, Text("请求的范围超出文件", "The range lies outside the file"),
         Text("响应头 Content-Range 给出文件的大小。", "The Content-Range header gives the size of the file.")),
    ProblemType("invalid-request", 422, Text("请求不符合要求", "The request does not match its schema"),
         Text("errors 逐条列出位置与原因；格式见 /openapi.json。", "errors lists every place with its reason. The schema is at /openapi.json.")),
    ProblemType("malformed-code", 422, Text("不是浙品码", "Not a 浙品码 code"),
         Text("请核对码的内容，不要改动任何字符。", "Check the code: every character has to be as printed.")),
    ProblemType("refused", 422, Text("不符合规则", "Refused by a rule"),
         Text("errors 列出全部原因。", "errors lists every reason.")),
    ProblemType("import-refused", 422, Text("登记文件有误", "The registry file has errors"),
         Text("errors 列出全部问题及其位置；没有写入任何内容。", "errors lists every finding with its place. Nothing was written.")),
    ProblemType("too-many-requests", 429, Text("请求过于频繁", "Too many requests"),
         Text("请按 Retry-After 稍后重试。每个密钥每分钟的请求数、每个地址每分钟的无效密钥数与不带密钥的读取次数都有上限；轮询请放慢。",
              "Try again after Retry-After seconds. The requests of one key, and the wrong keys and the reads without a key "
              "from one address, are limited by the minute; poll less often.")),
    ProblemType("error", 500, Text("服务内部错误", "Internal error"),
         Text("这是服务端的错误。请将 instance 告知平台运营方。", "This is an error of the service. Tell the operator the instance.")),
    ProblemType("signer-refused", 502, Text("签名服务拒绝签名", "The signer refused"),
         Text("请联系平台运营方。", "Contact the operator.")),
    ProblemType("keyring", 503, Text("公钥环不可用", "The keyring cannot be trusted"),
         Text("请联系平台运营方。", "Contact the operator.")),
    ProblemType("signer-unavailable", 503, Text("签名服务没有应答", "The signer does not answer"),
         Text("请稍后重试；已预留的批次不会丢失。", "Try again later. Reserved batches are not lost.")),
    ProblemType("database-behind", 503, Text("数据库落后，已停止签发和作出决定", "The database is behind; nothing is issued or decided"),
         Text("数据库比缓存、码文件或签名记录旧，通常是从备份恢复所致。须由平台运营方执行 zpcode recover；查询与扫码不受影响，本次请求没有改变任何内容。",
              "The database is older than Redis, the code files or the signer's records, as after a restore from a backup. The operator "
              "has to run zpcode recover. Queries and scans go on. This request changed nothing.")),
    ProblemType("file-removed", 503, Text("文件已清除，正在重新生成", "The file was removed and is being written again"),
         Text("progress 给出已写入的数量；请按 Retry-After 稍后再下载，例如 curl -f --retry。",
              "progress says how many codes are written. Try again after Retry-After seconds, for example with curl -f --retry.")),
    ProblemType("unavailable", 503, Text("服务暂时不可用", "Temporarily unavailable"),
         Text("请按 Retry-After 稍后重试；除非 detail 另有说明，本次请求没有改变任何内容。",
              "Try again after Retry-After seconds. Nothing was changed unless the detail says otherwise.")),
)  # fmt: skip
KINDS: Final = {kind.slug: kind for kind in _KINDS}


def kind_of(error: ZpError) -> ProblemType:
    """The kind of problem of an error, by the slug of its class."""
    return KINDS[error.slug]


def document(
    kind: ProblemType, text: Text, *, language: str, request_id: str, findings: tuple[Finding, ...] = (), **more: Any
) -> dict[str, Any]:
    """A problem as an object of RFC 9457. `more` are further extension members."""
    return {
        "type": kind.type,
        "title": kind.title.in_language(language),
        "status": kind.status,
        "detail": text.in_language(language),
        "instance": f"urn:uuid:{request_id}",
        "errors": [_finding(finding, language) for finding in findings],
        **more,
        "languages": {
            "zh": {"title": kind.title.zh, "detail": text.zh},
            "en": {"title": kind.title.en, "detail": text.en},
        },
    }


def _finding(finding: Finding, language: str) -> dict[str, Any]:
    place = {"pointer" if finding.where.startswith("/") else "where": finding.where} if finding.where else {}
    value = {} if finding.value is None else {"value": finding.value}
    return {
        "reason": finding.reason,
        "detail": finding.text.in_language(language),
        **place,
        **value,
        "languages": {"zh": finding.text.zh, "en": finding.text.en},
    }


def response(
    connection: HTTPConnection,
    kind: ProblemType,
    text: Text,
    *,
    findings: tuple[Finding, ...] = (),
    headers: dict[str, str] | None = None,
    **more: Any,
) -> Response:
    """A problem as the response to a request, in the language that the request asks for."""
    language = choose_language((CHINESE, ENGLISH), one_line(connection.headers.getlist("accept-language")))
    content = document(kind, text, language=language, request_id=request_id(connection), findings=findings, **more)
    # A lone surrogate in what a client sent (\ud800) is sent back with its escape.
    body = json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace")
    fixed = {"Content-Language": language, "Vary": "Accept-Language"}
    if kind.status == 503:
        fixed["Retry-After"] = str(RETRY_SECONDS)
    return Response(body, kind.status, {**fixed, **(headers or {})}, MEDIA_TYPE)


def response_to(connection: HTTPConnection, error: ZpError) -> Response:
    """The response to a request that raised a ZpError."""
    headers: dict[str, str] = {}
    more: dict[str, Any] = {}
    kind = kind_of(error)
    if kind.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="zpcode"'
    if isinstance(error, TooMany):
        headers["Retry-After"] = str(error.seconds)
    if isinstance(error, UnsatisfiableRange):
        headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, NotReady | FileRemoved):
        headers["Retry-After"] = str(RETRY_SECONDS)
        more["progress"] = {"written": error.written, "codes": error.codes}
    return response(connection, kind, error.text, findings=error.findings, headers=headers, **more)


def request_id(connection: HTTPConnection) -> str:
    """The id of a request: the one that `RequestMiddleware` gave it, else a new one."""
    state: dict[str, Any] = connection.scope.setdefault("state", {})
    return str(state.setdefault("request_id", str(uuid4())))
