"""The vocabulary of decisions: actions, actors and scopes, and the state that an action gives."""

from __future__ import annotations

import enum
from typing import Final

from zpcode.errors import Text
from zpcode.wire.vocabulary import Scope, State


class Action(enum.StrEnum):
    """What a decision does: 标记 / 冻结 / 召回 / 撤销 / 恢复."""

    FLAG = "flag"
    SUSPEND = "suspend"
    RECALL = "recall"
    REVOKE = "revoke"
    RESTORE = "restore"


class Actor(enum.StrEnum):
    """The kinds of deciders: an enterprise, a regulator by its level, or the operator of the service.

    `RECOVERY` decides nothing: `zpcode recover` entered what only Redis showed, and a person has not confirmed it yet.
    """

    ENTERPRISE = "enterprise"
    COUNTY = "county"
    CITY = "city"
    PROVINCE = "province"
    OPERATOR = "operator"
    RECOVERY = "recovery"


STATES: Final = {
    Action.FLAG: State.FLAGGED,
    Action.SUSPEND: State.SUSPENDED,
    Action.RECALL: State.RECALLED,
    Action.REVOKE: State.REVOKED,
    Action.RESTORE: State.GOOD,
}


ACTIONS: Final = {
    Action.FLAG: Text("标记", "flag"),
    Action.SUSPEND: Text("冻结", "suspend"),
    Action.RECALL: Text("召回", "recall"),
    Action.REVOKE: Text("撤销", "revoke"),
    Action.RESTORE: Text("恢复", "restore"),
}
ACTORS: Final = {
    Actor.ENTERPRISE: Text("企业", "an enterprise"),
    Actor.COUNTY: Text("县级监管部门", "a county office"),
    Actor.CITY: Text("市级监管部门", "a city office"),
    Actor.PROVINCE: Text("省级监管部门", "the province's office"),
    Actor.OPERATOR: Text("平台运营方", "the operator"),
    Actor.RECOVERY: Text("数据恢复", "a recovery"),
}
SCOPES: Final = {
    Scope.CODE: Text("单品码", "one item"),
    Scope.RANGE: Text("号段", "a range of items of one batch"),
    Scope.LOT: Text("批号", "a lot of goods"),
    Scope.BATCH: Text("码批次", "a batch of codes"),
    Scope.PRODUCT: Text("产品", "a product"),
    Scope.RECOGNITION: Text("品牌认定", "a brand recognition"),
    Scope.CERTIFICATE: Text("认证证书", "a certificate"),
    Scope.STANDARD: Text("标准", "a standard"),
    Scope.ENTERPRISE: Text("企业", "an enterprise"),
    Scope.KEY: Text("签名密钥", "a signing key"),
}
