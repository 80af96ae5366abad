"""Zhejiang's regions by GB/T 2260 code: the province, 11 cities, 90 districts, counties and county-level cities.

The state after the division changes of 2021 (Hangzhou). Former codes are listed separately: an old registry may still
have them, and the error message names the successor.
"""

from __future__ import annotations

from typing import Final

from zpcode.wire.vocabulary import Bilingual

PROVINCE: Final = "330000"
_TABLE = """
330100 杭州市 Hangzhou
330102 上城区 Shangcheng District
330105 拱墅区 Gongshu District
330106 西湖区 Xihu District
330108 滨江区 Binjiang District
330109 萧山区 Xiaoshan District
330110 余杭区 Yuhang District
330111 富阳区 Fuyang District
330112 临安区 Lin'an District
330113 临平区 Linping District
330114 钱塘区 Qiantang District
330122 桐庐县 Tonglu County
330127 淳安县 Chun'an County
330182 建德市 Jiande City
330200 宁波市 Ningbo
330203 海曙区 Haishu District
330205 江北区 Jiangbei District
330206 北仑区 Beilun District
330211 镇海区 Zhenhai District
330212 鄞州区 Yinzhou District
330213 奉化区 Fenghua District
330225 象山县 Xiangshan County
330226 宁海县 Ninghai County
330281 余姚市 Yuyao City
330282 慈溪市 Cixi City
330300 温州市 Wenzhou
330302 鹿城区 Lucheng District
330303 龙湾区 Longwan District
330304 瓯海区 Ouhai District
330305 洞头区 Dongtou District
330324 永嘉县 Yongjia County
330326 平阳县 Pingyang County
330327 苍南县 Cangnan County
330328 文成县 Wencheng County
330329 泰顺县 Taishun County
330381 瑞安市 Rui'an City
330382 乐清市 Yueqing City
330383 龙港市 Longgang City
330400 嘉兴市 Jiaxing
330402 南湖区 Nanhu District
330411 秀洲区 Xiuzhou District
330421 嘉善县 Jiashan County
330424 海盐县 Haiyan County
330481 海宁市 Haining City
330482 平湖市 Pinghu City
330483 桐乡市 Tongxiang City
330500 湖州市 Huzhou
330502 吴兴区 Wuxing District
330503 南浔区 Nanxun District
330521 德清县 Deqing County
330522 长兴县 Changxing County
330523 安吉县 Anji County
330600 绍兴市 Shaoxing
330602 越城区 Yuecheng District
330603 柯桥区 Keqiao District
330604 上虞区 Shangyu District
330624 新昌县 Xinchang County
330681 诸暨市 Zhuji City
330683 嵊州市 Shengzhou City
330700 金华市 Jinhua
330702 婺城区 Wucheng District
330703 金东区 Jindong District
330723 武义县 Wuyi County
330726 浦江县 Pujiang County
330727 磐安县 Pan'an County
330781 兰溪市 Lanxi City
330782 义乌市 Yiwu City
330783 东阳市 Dongyang City
330784 永康市 Yongkang City
330800 衢州市 Quzhou
330802 柯城区 Kecheng District
330803 衢江区 Qujiang District
330822 常山县 Changshan County
330824 开化县 Kaihua County
330825 龙游县 Longyou County
330881 江山市 Jiangshan City
330900 舟山市 Zhoushan
330902 定海区 Dinghai District
330903 普陀区 Putuo District
330921 岱山县 Daishan County
330922 嵊泗县 Shengsi County
331000 台州市 Taizhou
331002 椒江区 Jiaojiang District
331003 黄岩区 Huangyan District
331004 路桥区 Luqiao District
331022 三门县 Sanmen County
331023 天台县 Tiantai County
331024 仙居县 Xianju County
331081 温岭市 Wenling City
331082 临海市 Linhai City
331083 玉环市 Yuhuan City
331100 丽水市 Lishui
331102 莲都区 Liandu District
331121 青田县 Qingtian County
331122 缙云县 Jinyun County
331123 遂昌县 Suichang County
331124 松阳县 Songyang County
331125 云和县 Yunhe County
331126 庆元县 Qingyuan County
331127 景宁畲族自治县 Jingning She Autonomous County
331181 龙泉市 Longquan City
"""


def _read(table: str) -> dict[str, Bilingual]:
    rows = (line.split(" ", 2) for line in table.strip().splitlines())
    return {code: Bilingual(zh, en) for code, zh, en in rows}


REGIONS: Final = _read(_TABLE)
# Former codes, and the region that most of their area now belongs to.
FORMER: Final = {
    "330103": "330105",
    "330104": "330102",
    "330183": "330111",
    "330185": "330112",
    "330204": "330212",
    "330283": "330213",
    "330322": "330305",
    "330621": "330603",
    "330682": "330604",
    "331021": "331083",
}


def is_region(code: str) -> bool:
    """Whether a code is that of a city or county of Zhejiang, where an enterprise can have its seat."""
    return code in REGIONS


def city_of(code: str) -> str:
    """The code of the city that a region belongs to: `330702` → `330700`."""
    return f"{code[:4]}00"


def region_name(code: str) -> Bilingual:
    """The full name of a region: from the province down in Chinese, up to the province in English.

    An unknown code is its own name, so that a page can always be shown.
    """
    if code == PROVINCE:
        return Bilingual("浙江省", "Zhejiang")
    region, city = REGIONS.get(code), REGIONS.get(city_of(code))
    if region is None or city is None:
        return Bilingual(code, code)
    if code == city_of(code):
        return Bilingual(f"浙江省{city.zh}", f"{city.en}, Zhejiang")
    return Bilingual(f"浙江省{city.zh}{region.zh}", f"{region.en}, {city.en}, Zhejiang")


def office_of(code: str) -> Bilingual:
    """The public name of a region's office (市场监督管理局)."""
    if code == PROVINCE:
        return Bilingual("浙江省市场监督管理局", "Zhejiang Administration for Market Regulation")
    region = REGIONS.get(code, Bilingual(code, code))
    return Bilingual(f"{region.zh}市场监督管理局", f"{region.en} Administration for Market Regulation")
