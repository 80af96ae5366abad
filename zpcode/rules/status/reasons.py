"""The reasons of decisions, and what each may be used for.

A request names a reason by its slug; the consumer reads its text. A reason names the actions it can
be used for, its scopes, and who may give it; `rules.status.permissions` says who may act at all. Both must allow a
decision. Sources: 浙市监质〔2023〕1号 (performance evaluation, market sample tests, misuse of the
mark, withdrawal of recognition, review of standards, random inspection), from product recall
(《消费品召回管理暂行规定》), and from faults of labels on packaging lines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from zpcode.errors import Text
from zpcode.rules.status.decisions import STATES, Action, Actor
from zpcode.wire.vocabulary import Scope, State

RECOVERED: Final = "recovered"
"""The reason of a decision that a recovery entered and nobody has confirmed yet (`zpcode.rules.status.recovery`)."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason.

    `needs_basis`: a regulator or the operator must name the legal basis; an enterprise need not.
    `ends`: a revocation for this reason is an ordinary end and not a sanction. The state is ENDED, and the `old_stock` of
    the recognition says how goods already made are shown.
    `bars`: a revocation of a recognition or an enterprise for this reason bars a new application for three years.
    """

    slug: str
    text: Text
    actions: frozenset[Action]
    scopes: frozenset[Scope]
    actors: frozenset[Actor]
    needs_basis: bool = False
    ends: bool = False
    bars: bool = False

    def state(self, action: Action) -> State:
        """The state that a decision for this reason gives."""
        return State.ENDED if self.ends and action is Action.REVOKE else STATES[action]


_ITEMS = (Scope.CODE, Scope.RANGE, Scope.LOT, Scope.BATCH)
_GOODS = (*_ITEMS, Scope.PRODUCT)
_RIGHTS = (Scope.RECOGNITION, Scope.ENTERPRISE)
_REGISTERED = (Scope.RECOGNITION, Scope.CERTIFICATE, Scope.STANDARD, Scope.ENTERPRISE)

_TOP = (Actor.PROVINCE, Actor.OPERATOR)
_OFFICES = (Actor.COUNTY, Actor.CITY, *_TOP)
_UPPER = (Actor.CITY, *_TOP)
_ALL = (Actor.ENTERPRISE, *_OFFICES)
_OWN = (Actor.ENTERPRISE,)

_FLAG, _SUSPEND, _RECALL, _REVOKE, _RESTORE = Action
_DOUBT = (_FLAG, _SUSPEND)
_ANY = (_FLAG, _SUSPEND, _RECALL, _REVOKE)


def _reason(
    slug: str,
    texts: tuple[str, str],
    actions: tuple[Action, ...],
    scopes: tuple[Scope, ...],
    actors: tuple[Actor, ...],
    **marks: bool,
) -> Reason:
    return Reason(slug, Text(*texts), frozenset(actions), frozenset(scopes), frozenset(actors), **marks)


_TABLE: Final = (
    # Doubtful: an investigation is running.
    _reason(
        "complaint-under-investigation",
        ("投诉举报核查中", "a complaint is being looked into"),
        _DOUBT,
        (*_GOODS, *_RIGHTS),
        _OFFICES,
    ),
    _reason(
        "cloning-suspected",
        ("扫码异常，疑似标签被复制", "unusual scans: the label may have been copied"),
        _DOUBT,
        _ITEMS,
        _ALL,
    ),
    _reason(
        "counterfeit-suspected",
        ("疑似假冒", "a counterfeit is suspected"),
        _DOUBT,
        _GOODS,
        _ALL,
    ),
    _reason(
        "quality-check",
        ("企业自查，暂停销售", "the maker has stopped sales for a check of its own"),
        _DOUBT,
        _ITEMS,
        _OWN,
    ),
    # About goods and labels.
    _reason(
        "counterfeit-confirmed",
        ("已查实标签被用于假冒产品", "the label is known to be used on counterfeits"),
        (_REVOKE,),
        _ITEMS,
        (Actor.ENTERPRISE, *_UPPER),
        needs_basis=True,
    ),
    _reason(
        "sample-test-failed",
        ("市场抽样检验不合格", "a sample bought on the market failed the test"),
        _ANY,
        (*_GOODS, Scope.RECOGNITION),
        _OFFICES,
        needs_basis=True,
    ),
    _reason(
        "standard-not-met",
        ("产品不符合标准", "the product does not meet its standard"),
        _ANY,
        (*_GOODS, Scope.RECOGNITION),
        _OFFICES,
        needs_basis=True,
    ),
    _reason(
        "inspection-failed",
        ("监督抽查不合格", "failed an official inspection"),
        _ANY,
        (*_GOODS, *_RIGHTS),
        _OFFICES,
        needs_basis=True,
    ),
    _reason(
        "safety-recall",
        ("缺陷产品召回", "recall of defective products"),
        (_RECALL,),
        _GOODS,
        _ALL,
        needs_basis=True,
    ),
    _reason(
        "labelling-error",
        ("标签标识有误", "the label is wrong"),
        _ANY,
        _ITEMS,
        _ALL,
    ),
    _reason(
        "scrapped",
        ("入库前报废", "scrapped before it entered the warehouse"),
        (_REVOKE,),
        _ITEMS,
        _OWN,
    ),
    _reason(
        "labels-stolen",
        ("标签被盗或遗失", "labels were stolen or lost"),
        (_SUSPEND, _REVOKE),
        _ITEMS,
        _ALL,
    ),
    # About the right to the mark.
    _reason(
        "mark-misuse",
        ("违规使用品牌标识", "the mark was misused"),
        (_FLAG, _SUSPEND, _REVOKE),
        (*_GOODS, *_RIGHTS),
        _OFFICES,
        needs_basis=True,
        bars=True,
    ),
    _reason(
        "poor-performance",
        ("绩效评估结果不理想，收回品牌授权", "poor performance evaluation: the brand licence was taken back"),
        (_REVOKE,),
        (Scope.PRODUCT, Scope.RECOGNITION),
        _TOP,
        needs_basis=True,
    ),
    _reason(
        "recognition-cancelled",
        ("撤销品牌认定", "the brand recognition was withdrawn"),
        (_REVOKE,),
        (Scope.RECOGNITION,),
        _TOP,
        needs_basis=True,
        bars=True,
    ),
    _reason(
        "recognition-ended-early",
        ("品牌认定提前终止（非违规）", "the brand recognition ended early, without fault"),
        (_REVOKE,),
        (Scope.RECOGNITION,),
        _TOP,
        ends=True,
    ),
    _reason(
        "declaration-untrue",
        ("自我声明内容不实", "the public self-declaration is untrue"),
        (_FLAG, _SUSPEND, _REVOKE),
        (Scope.RECOGNITION,),
        _UPPER,
        needs_basis=True,
        bars=True,
    ),
    _reason(
        "guarantee-lapsed",
        ("信用保证失效", "the credit guarantee has lapsed"),
        (_SUSPEND, _REVOKE),
        (Scope.RECOGNITION,),
        _UPPER,
    ),
    _reason(
        "serious-dishonesty",
        ("严重违法失信，依法清退", "removed for serious breaches of law or trust"),
        (_SUSPEND, _REVOKE),
        _RIGHTS,
        _UPPER,
        needs_basis=True,
        bars=True,
    ),
    _reason(
        "enterprise-closed",
        ("企业已注销", "the enterprise was closed"),
        (_REVOKE,),
        (Scope.ENTERPRISE,),
        _TOP,
        ends=True,
    ),
    # About what a recognition rests on.
    _reason(
        "certificate-suspended",
        ("认证证书被暂停", "the certificate is suspended"),
        (_SUSPEND,),
        (Scope.CERTIFICATE,),
        _TOP,
    ),
    _reason(
        "certificate-withdrawn",
        ("认证证书被撤销", "the certificate was withdrawn"),
        (_REVOKE,),
        (Scope.CERTIFICATE,),
        _TOP,
        needs_basis=True,
    ),
    _reason(
        "certificate-expired",
        ("认证证书到期或注销", "the certificate expired or was given up"),
        (_REVOKE,),
        (Scope.CERTIFICATE,),
        _TOP,
        ends=True,
    ),
    _reason(
        "certification-body-removed",
        ("认证机构被清退", "the certification body was removed"),
        (_FLAG, _SUSPEND, _REVOKE),
        (Scope.CERTIFICATE,),
        _TOP,
        needs_basis=True,
    ),
    _reason(
        "standard-under-review",
        ("标准复审中", "the standard is under review"),
        (_FLAG,),
        (Scope.STANDARD,),
        _TOP,
    ),
    _reason(
        "standard-amended",
        ("标准已修订", "the standard was amended"),
        (_FLAG, _SUSPEND, _REVOKE),
        (Scope.STANDARD,),
        _TOP,
        ends=True,
    ),
    _reason(
        "standard-abolished",
        ("标准已废止", "the standard was abolished"),
        (_REVOKE,),
        (Scope.STANDARD,),
        _TOP,
        needs_basis=True,
        ends=True,
    ),
    _reason(
        "standard-recognition-cancelled",
        ("取消“浙江制造”标准认定", "the standard's own recognition as a Zhejiang Made standard was cancelled"),
        (_REVOKE,),
        (Scope.STANDARD,),
        _TOP,
        needs_basis=True,
        ends=True,
    ),
    _reason(
        "key-compromise-suspected",
        ("签名密钥疑似泄露", "the signing key may have been compromised"),
        (_SUSPEND,),
        (Scope.KEY,),
        _TOP,
    ),
    _reason(
        "key-compromised",
        ("签名密钥泄露", "the signing key was compromised"),
        (_REVOKE,),
        (Scope.KEY,),
        _TOP,
    ),
    # Why a decision is lifted.
    _reason(
        "investigation-closed",
        ("核查结束，未发现问题", "the investigation is closed and found nothing wrong"),
        (_RESTORE,),
        tuple(Scope),
        _ALL,
    ),
    _reason(
        "rectified",
        ("整改合格", "put right"),
        (_RESTORE,),
        (*_GOODS, *_REGISTERED),
        _ALL,
    ),
    _reason(
        "entered-in-error",
        ("更正操作错误", "correction: it was entered in error"),
        (_RESTORE,),
        tuple(Scope),
        _ALL,
    ),
    _reason(
        "appeal-upheld",
        ("申诉或行政复议成立", "an appeal was upheld"),
        (_RESTORE,),
        (*_GOODS, *_REGISTERED),
        _OFFICES,
        needs_basis=True,
    ),
    _reason(
        "validity-restored",
        ("证书、标准或认定恢复有效", "the certificate, standard or recognition is valid again"),
        (_RESTORE,),
        _REGISTERED,
        _UPPER,
    ),
    # Of what a recovery entered from Redis alone: nobody may give this reason.
    _reason(
        RECOVERED,
        (
            "系统数据恢复后先行保护，原决定正在核实",
            "held after the records were recovered; the decision is being checked",
        ),
        _ANY,
        tuple(Scope),
        (),
    ),
)

REASONS: Final = {reason.slug: reason for reason in _TABLE}
